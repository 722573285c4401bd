import pytest

from edgekd.cli.cells import count, duration, milliseconds, percent, size


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (9_994, "9.99 k"), (9_996, "10.0 k"),
     (99_960, "100 k"), (999_499, "999 k"), (999_500, "1.00 M"), (10**15, "1000 T")],
)  # fmt: skip
def test_count_keeps_three_digits_across_every_border(number, text):
    assert count(number) == text


def test_size_is_decimal():
    assert [size(0), size(1000), size(1_500_000)] == ["0 B", "1.00 kB", "1.50 MB"]


def test_what_is_not_known_is_an_empty_cell():
    assert percent(None) == milliseconds(None) == ""
    assert percent(0.0) == "0.00 %"
    assert milliseconds(0.0) == "0"


def test_duration_rounds_into_the_next_unit():
    assert [duration(59.4), duration(59.5), duration(3599.6)] == [
        "59 s",
        "1 min 00 s",
        "1 h 00 min",
    ]
