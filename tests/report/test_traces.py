import pytest

from edgekd.report.traces import strip_path, strip_text


def test_a_path_steps_down_where_a_value_falls():
    # y grows down the page: 1.0 is the top (0), 0.25 leaves 0.75 above it, 0 is the bottom.
    assert strip_path([1.0, 0.25, 0.25, 0.0]) == "M0 1V0H1V0.75H3V1H4V1Z"


def test_equal_neighbours_are_one_step():
    assert strip_path([0.5] * 100) == "M0 1V0.5H100V1Z"


def test_a_gap_has_no_height_and_nothing_leaves_the_box():
    assert strip_path([None, 1.5, -3.0]) == "M0 1V1H1V0H2V1H3V1Z"


def test_levels_are_eighths():
    eighths = [k / 8 for k in range(9)]
    assert strip_text(eighths) == "▁▂▃▄▅▆▇██"
    assert strip_text([0.124, 0.126, None, -1.0, 2.0]) == "▁▂·▁█"


def test_many_values_are_shown_as_means_of_equal_groups():
    # 64 values in 32 groups of two: 1 and 0 make 0.5, the fifth of eight levels.
    assert strip_text([1.0, 0.0] * 32) == "▅" * 32
    assert strip_text([None, None] + [1.0] * 62) == "·" + "█" * 31
    assert strip_text([None, 1.0] * 32) == "█" * 32  # what is not known weighs nothing


@pytest.mark.parametrize("count", [33, 47, 120])
def test_every_value_is_in_one_group(count):
    text = strip_text([1.0] * (count - 1) + [0.0])
    assert len(text) == 32
    assert text[:-1] == "█" * 31
    assert text[-1] != "█"


def test_nothing_is_nothing():
    assert strip_text([]) == ""
