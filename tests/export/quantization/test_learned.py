from pathlib import Path

import numpy as np

from edgekd.export.quantization.learned import LearnedRange, WithLearnedRanges, matched
from edgekd.export.quantization.ranges import RangeCollector

RELU = LearnedRange(seen=(0.0, 6.0), learned=(0.0, 5.0))
SUM = LearnedRange(seen=(-1.0, 3.0), learned=(-0.75, 2.5))


def test_a_tensor_is_told_by_its_extremes_whatever_its_name():
    found = matched({"relu_3;nhwc": (0.0, 6.00001), "add_1": (-1.0, 3.0)}, [SUM, RELU])
    assert found == {"relu_3;nhwc": (0.0, 5.0), "add_1": (-0.75, 2.5)}


def test_a_tensor_that_only_moves_values_gets_the_same_range():
    found = matched({"relu": (0.0, 6.0), "pooled": (0.0, 6.0)}, [RELU])
    assert found == {"relu": (0.0, 5.0), "pooled": (0.0, 5.0)}


def test_what_no_point_has_seen_keeps_its_own_range():
    # 0.1 % of the width away: sums in another order do not differ by as much
    assert matched({"other": (0.0, 6.006), "left": (-0.006, 6.0)}, [RELU]) == {}


def test_two_points_that_learned_differently_cannot_be_told_apart():
    twin = LearnedRange(seen=(0.0, 6.0), learned=(0.0, 4.0))
    assert matched({"relu": (0.0, 6.0)}, [RELU, twin]) == {}
    alike = LearnedRange(seen=(0.0, 6.0), learned=(0.0, 5.01))  # less than a step of 6 / 255
    assert matched({"relu": (0.0, 6.0)}, [RELU, alike]) == {"relu": (0.0, 5.0)}


def test_a_constant_is_told_by_its_value():
    zero = LearnedRange(seen=(2.0, 2.0), learned=(0.0, 2.0))
    assert matched({"c": (2.0, 2.0), "d": (3.0, 3.0)}, [zero]) == {"c": (0.0, 2.0)}


class Recorder:
    """A quantizer of one tensor that a point has seen and one that none has."""

    format, units, notes = "onnx", (), ("of the inner one",)

    def __init__(self):
        self.written = None

    def calibrate(self, feeds, collector):
        collector.add("relu", feeds["x"])
        collector.add("other", -feeds["x"])

    def write(self, choices, ranges, path):
        self.written = dict(ranges)

    def versions(self):
        return {"quantizer": "1"}


def test_a_file_is_written_with_learned_ranges_where_its_tensors_are_told():
    inner = Recorder()
    quantizer = WithLearnedRanges(inner, [RELU, SUM])
    assert quantizer.told == ()
    quantizer.calibrate({"x": np.float32([0, 2, 6])}, RangeCollector(seed=0, per_batch=8))
    # a learned range of 0 to 5 clips the 6
    saturated = quantizer.saturated({"relu": 0.5, "other": 0.25}, over=0.01)
    assert saturated.keys() == {"relu", "other"}
    assert 0 < saturated["relu"] != 0.5
    assert saturated["other"] == 0.25
    assert quantizer.saturated(None, over=0.01) is None
    quantizer.write({}, {"relu": (0.0, 6.0), "other": (-6.0, 0.0)}, Path("unused"))
    assert inner.written == {"relu": (0.0, 5.0), "other": (-6.0, 0.0)}
    assert quantizer.notes == ("of the inner one",)
    assert quantizer.told == ("1 of 2 activations have the range that was learned",)
    assert (quantizer.format, quantizer.versions()) == ("onnx", {"quantizer": "1"})


def test_without_calibration_given_ranges_are_written():
    inner = Recorder()
    WithLearnedRanges(inner, [RELU]).write({}, {"relu": (0.0, 6.0)}, Path("unused"))
    assert inner.written == {"relu": (0.0, 6.0)}
