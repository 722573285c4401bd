import pytest

from edgekd.report.units import (
    DASH,
    MINUS,
    clean,
    duration,
    percent,
    points,
    significant,
    unit_for,
    verbatim,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9.996, "10.0"),  # rounds up to one more digit before the point
        (99.96, "100"),
        (1234.5, "1,234"),
        (0.00012345, "0.000123"),
        (-1.5, f"{MINUS}1.50"),
        (2.5e-5, f"2.50e{MINUS}05"),
    ],
)
def test_three_significant_digits(value, text):
    assert significant(value) == text


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ([999], ""),
        ([1000], "k"),  # exactly at the step
        ([78_000, 40_000_000], "k"),  # the smallest decides, so nothing becomes 0.0000
        ([None, 12_500_000], "M"),
        ([None], ""),
        ([0, 5], ""),
    ],
)
def test_a_column_has_the_unit_of_its_smallest_value(values, name):
    assert unit_for(values).name == name


def test_a_unit_shows_values_with_and_without_its_name():
    unit = unit_for([24_100], base="B")
    assert (unit.show(24_100), unit.show(None)) == ("24.1", DASH)
    assert unit.show_named(24_100) == "24.1 kB"


def test_per_cent_and_points_appear_only_here():
    assert (percent(0.8712), percent(None)) == ("87.12", DASH)
    assert (points(0.005), points(-0.005), points(None)) == ("0.50", f"{MINUS}0.50", DASH)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, DASH), (4.25, "4.25 s"), (59.6, "1 min 00 s"), (3600 + 5 * 60, "1 h 05 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_hidden_characters_become_visible():
    assert clean("a\nb\t c") == "a b c"
    assert clean("safe\u202egpj.exe\x07\ud800\u2028.") == "safe�gpj.exe�� ."
    assert verbatim('  "a":  "\x1b[31m"') == '  "a": "�[31m"'
