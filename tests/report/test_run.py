import subprocess
import sys

import pytest

from edgekd.console import SilentConsole
from edgekd.errors import BundleError, OutputError, UsageError
from edgekd.report.run import report, terminal_tables


def test_the_suffix_names_the_format(make, tmp_path):
    root = make.write_runs(tmp_path / "runs")
    page = report([root], tmp_path / "out" / "report.HTML", SilentConsole())
    text = report([root], tmp_path / "report.md", SilentConsole())
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert text.read_text(encoding="utf-8").startswith("# edgekd report\n")
    assert page == tmp_path / "out" / "report.HTML"


@pytest.mark.parametrize("name", ["report.pdf", "report"])
def test_another_suffix_is_refused_before_anything_is_read(name, tmp_path):
    with pytest.raises(UsageError, match=r"expected \.html or \.md"):
        report([tmp_path / "nowhere"], tmp_path / name, SilentConsole())


@pytest.mark.parametrize("suffix", [".html", ".md"])
def test_the_same_records_give_the_same_bytes(suffix, make, tmp_path):
    root = make.write_runs(tmp_path / "runs")
    first, second = (
        report([root], tmp_path / f"{name}{suffix}", SilentConsole()).read_bytes()
        for name in ("a", "b")
    )
    assert first == second


def test_both_formats_show_every_cell_of_the_main_table(make, tmp_path):
    root = make.write_runs(tmp_path / "runs")
    html = report([root], tmp_path / "r.html", SilentConsole()).read_text(encoding="utf-8")
    text = report([root], tmp_path / "r.md", SilentConsole()).read_text(encoding="utf-8")
    for value in ("student.int8.tflite", "95.50", "12.5", "90.0", "0.403", "3.20", "2.5e-06"):
        assert value in html
        assert value in text


def test_two_data_sets_are_two_tables(make, tmp_path):
    make.write(tmp_path / "a", "bundle.json", make.bundle())
    data = make.provenance().data.model_copy(update={"source": "cifar", "fingerprint": "9" * 64})
    other = make.bundle("c" * 64, origin=make.provenance(data=data))
    make.write(tmp_path / "b", "bundle.json", other)
    text = report([tmp_path], tmp_path / "r.md", SilentConsole()).read_text(encoding="utf-8")
    assert text.count("\n## Teacher, student, files: ") == 2
    assert "Data fingerprint 999999999999." in text


def test_the_terminal_gets_one_table_per_data_set_without_control_characters(make, tmp_path):
    data = make.provenance().data.model_copy(
        update={"source": "ci\x1b[31mfar", "fingerprint": "9" * 64}
    )
    recipe = {"student": "\x1b[2Jnet", "method": "none"}
    other = make.bundle("c" * 64, origin=make.provenance(data=data, recipe=recipe))
    make.write(tmp_path / "a", "bundle.json", make.bundle())
    make.write(tmp_path / "b\x1b[2J", "bundle.json", other)
    tables = terminal_tables([tmp_path])
    assert [title for title, _, _ in tables] == [
        "Teacher, student, files: builtin:digits",
        "Teacher, student, files: ci\N{REPLACEMENT CHARACTER}[31mfar",
    ]
    assert [rows[0][0] for _, _, rows in tables] == ["a", "b\N{REPLACEMENT CHARACTER}[2J"]
    assert all(len(row) == len(headers) for _, headers, rows in tables for row in rows)


def test_every_caveat_is_also_said_aloud(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle(uncounted_operators=("aten::fft",)))
    with pytest.warns(UserWarning, match="aten::fft"):
        report([tmp_path], tmp_path / "r.md", SilentConsole())
    assert "**Read with care**" in (tmp_path / "r.md").read_text(encoding="utf-8")


def test_caveats_of_a_kind_are_one_warning_and_are_listed_in_the_report(make, tmp_path):
    for name in "abc":
        bundle = make.bundle(name * 64, uncounted_operators=(f"aten::{name}",))
        make.write(tmp_path / name, "bundle.json", bundle)
    with pytest.warns(UserWarning) as warned:
        report([tmp_path], tmp_path / "r.md", SilentConsole())
    assert [str(each.message) for each in warned] == [
        "a and 2 more: MACs leave out operators that could not be counted"
    ]
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "c: MACs leave out operators that could not be counted (aten::c)" in text


def test_a_damaged_record_leaves_no_report(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle()).write_text("{}")
    with pytest.raises(BundleError, match="schema None found"):
        report([tmp_path], tmp_path / "r.html", SilentConsole())
    assert not (tmp_path / "r.html").exists()


def test_an_unwritable_output_is_an_error(make, tmp_path):
    make.write(tmp_path, "bundle.json", make.bundle())
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        report([tmp_path], tmp_path / "file" / "r.md", SilentConsole())


def test_markdown_needs_neither_torch_nor_the_extra(make, tmp_path):
    make.write_runs(tmp_path / "runs")
    program = f"""
import sys
for name in ("torch", "timm", "matplotlib", "jinja2"):
    sys.modules[name] = None
from pathlib import Path
from edgekd.console import SilentConsole
from edgekd.report.run import report, terminal_tables
report([Path({str(tmp_path / "runs")!r})], Path({str(tmp_path / "r.md")!r}), SilentConsole())
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "r.md").exists()


def test_a_page_is_made_without_torch(make, tmp_path):
    make.write_runs(tmp_path / "runs")
    program = f"""
import sys
for name in ("torch", "tensorflow", "onnxruntime"):
    sys.modules[name] = None
from pathlib import Path
from edgekd.console import SilentConsole
from edgekd.report.run import report, terminal_tables
report([Path({str(tmp_path / "runs")!r})], Path({str(tmp_path / "r.html")!r}), SilentConsole())
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "r.html").exists()
