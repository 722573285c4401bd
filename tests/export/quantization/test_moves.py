import pytest

from edgekd.export.quantization.moves import by_kind, by_noise, by_stretch, cut, starting_points
from edgekd.export.quantization.units import Unit, prefer

UNITS = [
    Unit(name="a", kind="Conv", choices=("static", "weights")),
    Unit(name="b", kind="Sigmoid", choices=("static", "float")),
    Unit(name="c", kind="Conv", choices=("static", "weights")),
]
STORED = prefer(UNITS)
STATIC = prefer(UNITS, "static")


def test_the_safest_start_comes_first():
    assert starting_points(UNITS, STORED)[0][1] == STORED
    assert STATIC in [choices for _, choices in starting_points(UNITS, STORED)]


def test_kinds_move_together_and_only_where_that_changes_anything():
    assert dict(by_kind(UNITS, STORED)) == {
        "Conv static": {"a": "static", "b": "float", "c": "static"},
        "Sigmoid static": {"a": "weights", "b": "static", "c": "weights"},
    }


def test_a_stretch_takes_the_colour_of_a_palette():
    moves = dict(by_stretch(UNITS, 3, STORED, [("fast", STATIC), ("same", STORED)]))
    assert moves["part 2/3: fast"] == {"a": "weights", "b": "static", "c": "weights"}
    assert len(moves) == 3


@pytest.mark.parametrize("pieces", [1, 2, 3, 7])
def test_every_unit_is_in_one_stretch(pieces):
    assert [unit for stretch in cut(UNITS, pieces) for unit in stretch] == UNITS


def test_the_loudest_stretches_go_first_until_the_rest_is_quiet_enough():
    noise = {("a",): 0.9, ("b",): 0.05, ("c",): 0.2}
    moves = list(by_noise(("fast", STATIC), STORED, noise, limit=0.4))
    # without a the sum is 0.25, which is allowed; then further ones go, up to all
    assert [m[1] for m in moves] == [
        {"a": "weights", "b": "static", "c": "static"},
        {"a": "weights", "b": "static", "c": "weights"},
        STORED,
    ]
