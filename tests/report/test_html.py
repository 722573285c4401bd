import re
import sys
from html.parser import HTMLParser

import pytest

from edgekd.console import SilentConsole
from edgekd.errors import MissingExtraError
from edgekd.report.document import Document
from edgekd.report.html import render_html
from edgekd.report.run import report

VOID = {"meta", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Tags in balance, every attribute, the text, and the cells of each table."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "title"):
            self.texts.append(data)


def _html(root, tmp_path):
    return report([root], tmp_path / "report.html", SilentConsole()).read_text(encoding="utf-8")


def test_the_page_holds_everything_and_fetches_nothing(make, tmp_path):
    html = _html(make.write_runs(tmp_path / "runs"), tmp_path)
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    addresses = {
        name: value
        for name, value in page.attributes
        if value and name in ("src", "href", "xlink:href", "action", "data")
    }
    assert all(value.startswith("#") for value in addresses.values())
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    assert page.tags.count("svg") == 6  # three curves of two runs


def test_the_page_shows_the_worked_example(make, tmp_path):
    page = Page(_html(make.write_runs(tmp_path / "runs"), tmp_path))
    texts = [text.strip() for text in page.texts if text.strip()]
    start = texts.index("exported/student.int8.tflite")
    assert texts[start + 1 : start + 4] == ["int8-static", "95.50", "−0.50"]  # noqa: RUF001
    labels = [value for name, value in page.attributes if name == "data-label"]
    assert "top1 (%), test, n = 200" in labels  # what a phone shows instead of the header row


def test_light_dark_and_phone_have_their_styles(make, tmp_path):
    html = _html(make.write_runs(tmp_path / "runs"), tmp_path)
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    assert "max-width: 46rem" in html


HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\'"&amp;{{ 7 * 7 }}'


def test_hostile_text_stays_text(make, tmp_path):
    data = make.provenance().data.model_copy(update={"source": HOSTILE, "skipped_files": 1})
    recipe = {"student": HOSTILE, "method": HOSTILE, HOSTILE: {"x": [HOSTILE]}}
    origin = make.provenance(
        data=data,
        recipe=recipe,
        teacher=make.teacher_ref(None, source=HOSTILE, kind=HOSTILE),
        machine=HOSTILE,
        commit=HOSTILE,
        created=HOSTILE,
        precision=HOSTILE,
    )
    make.write(tmp_path / "runs" / "<b onclick=x>", "bundle.json", make.bundle(origin=origin))
    line = f'{{"epoch": 0, "train_loss": 1.0, "val_{"<svg onload=x>"}": 0.5}}\n'
    (tmp_path / "runs" / "<b onclick=x>" / "history.jsonl").write_text(line)
    audit = make.exported("m.onnx", sha256="1" * 64).audit
    record = make.exported(
        HOSTILE.replace("/", "|"),
        sha256="1" * 64,
        notes=(HOSTILE,),
        audit=audit.model_copy(update={"float_operators": {HOSTILE: 1}}),
    )
    make.write(tmp_path / "runs", "m.onnx.json", record)
    measurement = make.measurement(
        "m.onnx",
        sha256="1" * 64,
        p50_ms=1.0,
        device=HOSTILE,
        device_info=make.device(cpu=HOSTILE, board=HOSTILE),
        metric=make.top1(0.5).model_copy(update={"name": HOSTILE}),
    )
    make.write_measurements(tmp_path / "runs", measurement)
    with pytest.warns(UserWarning, match="script"):
        html = _html(tmp_path / "runs", tmp_path)
    page = Page(html)
    assert not {"script", "img", "b"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "".join(page.texts).count("<script>alert(1)</script>") > 10
    assert "49" not in re.findall(r"amp;(\d+)", html)


def test_without_jinja_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    document = Document(
        title="t", subtitle="", summary=(), caveats=(), sections=(), footer=""
    )  # fmt: skip
    with pytest.raises(MissingExtraError, match="jinja2"):
        render_html(document)
