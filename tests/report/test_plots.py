import re
import sys
from xml.etree import ElementTree

import pytest

from edgekd.errors import MissingExtraError
from edgekd.report.document import Curves
from edgekd.report.plots import curve_drawings
from edgekd.report.walk import Epoch


def _epochs(values):
    return tuple(
        Epoch(epoch=i, train_loss=loss, lr=0.1, seconds=1.0, val_name="top1", val_value=val)
        for i, (loss, val) in enumerate(values)
    )


def _draw(values, prefix="c"):
    return dict(curve_drawings(Curves(label="run", epochs=_epochs(values)), prefix=prefix))


def test_the_line_goes_where_the_numbers_go():
    drawings = _draw([(3.0, 0.5), (2.0, 0.75), (1.0, 1.0)])
    assert list(drawings) == ["train loss", "val top1 (%)", "learning rate"]
    root = ElementTree.fromstring(drawings["train loss"])  # noqa: S314 - drawn by us
    paths = root.iter("{http://www.w3.org/2000/svg}path")
    (line,) = [path.attrib["d"] for path in paths if "--accent" in str(path.attrib)]
    numbers = [float(number) for number in re.findall(r"[\d.]+", line)]
    xs, ys = numbers[0::2], numbers[1::2]
    # Equal steps to the right, and down the page (where y grows) as the loss falls.
    assert xs[-1] > xs[0]
    assert ys[-1] > ys[0]
    slopes = [(y - ys[0]) / (x - xs[0]) for x, y in zip(xs[1:], ys[1:], strict=True)]
    assert slopes == pytest.approx([slopes[0]] * len(slopes))


def test_colours_come_from_the_page():
    for svg in _draw([(3.0, 0.5), (2.0, 0.75)]).values():
        assert "var(--ink)" in svg
        assert "var(--accent)" in svg
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#ffffff"}


def test_nothing_is_fetched_and_the_same_numbers_give_the_same_bytes():
    values = [(3.0, 0.5), (2.0, 0.75)]
    svg = _draw(values)["train loss"]
    assert svg == _draw(values)["train loss"]
    addresses = set(re.findall(r'(?<!xmlns=")(?<!xmlns:xlink=")https?://', svg))
    assert not addresses
    assert "<?xml" not in svg and "<metadata>" not in svg


def test_ids_of_two_runs_do_not_meet():
    values = [(3.0, 0.5), (2.0, 0.75)]
    ids = [
        set(re.findall(r'\bid="([^"]+)"', "".join(_draw(values, prefix=prefix).values())))
        for prefix in ("c1", "c2")
    ]
    assert ids[0] and not ids[0] & ids[1]


def test_what_was_not_recorded_is_not_drawn():
    assert list(_draw([(1.0, None), (None, None)])) == ["train loss", "learning rate"]


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib .* pip install 'edgekd\[report\]'"):
        _draw([(1.0, 0.5)])
