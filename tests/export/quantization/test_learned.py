from edgekd.export.quantization.learned import LearnedRange, matched

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
