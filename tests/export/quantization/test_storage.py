"""Weights that stay in float because the answers do not bear them in 8 bits."""

from types import SimpleNamespace

import pytest

from edgekd.export.quantization.candidates import Candidate
from edgekd.export.quantization.storage import (
    borne_storage,
    quiet_storage,
    spare_small_weights,
)
from edgekd.export.quantization.units import Unit, prefer

UNITS = (
    *(
        Unit(name=name, kind="Conv", choices=("static", "weights"), num_weights=count)
        for name, count in (("stem", 5), ("early", 25), ("late", 970))
    ),
    Unit(name="sum", kind="Add", choices=("static", "float")),
)


class Bench:
    """Of a network whose answers lose the more, the more tensors are in 8 bits."""

    quantizer = SimpleNamespace(units=UNITS)

    def __init__(self, path="file", *, is_late=False):
        self.path, self.labels, self.made = path, [], {}
        self.clock = SimpleNamespace(is_past=lambda share: is_late)

    def make(self, choices, label):
        self.labels.append(label)
        path = self.path and "-".join([self.path, *in_8_bits(choices)])
        made = Candidate(label=label, choices=dict(choices), path=path)
        return self.made.setdefault(tuple(choices.values()), made)

    def sqnr_db(self, candidate):
        return {0: 200.0, 1: 40.0, 2: 30.0, 3: 19.5}[len(in_8_bits(candidate.choices))]


def in_8_bits(choices):
    return [name for name, choice in choices.items() if choice == "weights"]


def test_quiet_weights_are_all_stored():
    bench = Bench()
    assert quiet_storage(bench, 19.0) == prefer(UNITS)
    assert bench.labels == ["weights in 8 bits"]


def test_the_smallest_share_that_is_enough_stays_in_float():
    spared = {**prefer(UNITS), "stem": "float"}
    assert quiet_storage(Bench(), 26.0) == spared == spare_small_weights(UNITS, 0.01)


def test_where_nothing_is_enough_the_best_is_taken():
    assert quiet_storage(Bench(), 99.0) == {**prefer(UNITS), "stem": "float", "early": "float"}


def test_what_cannot_be_written_is_left_to_the_search():
    assert quiet_storage(Bench(path=None), 26.0) == prefer(UNITS)


def test_more_weights_stay_in_float_until_the_task_bears_it():
    bench, judged = Bench(), []

    def accept(path):
        judged.append(path)
        return "early" not in path

    stored = bench.make(prefer(UNITS), "stored")
    assert borne_storage(bench, stored, accept).choices["early"] == "float"
    assert judged == ["file-stem-early-late", "file-early-late", "file-late"]


def test_weights_that_no_share_makes_bearable_stay_as_they_were():
    bench = Bench()
    stored = bench.make({**prefer(UNITS), "stem": "float"}, "stored")
    assert borne_storage(bench, stored, lambda path: False) is stored


def test_storage_that_is_noisier_than_what_there_is_is_not_judged():
    bench, judged = Bench(), []
    stored = bench.make({**prefer(UNITS), "stem": "float"}, "stored")
    borne_storage(bench, stored, lambda path: judged.append(path))
    assert "file-stem-early-late" not in judged


def test_what_the_task_bears_is_all_that_is_written():
    bench = Bench()
    stored = bench.make(prefer(UNITS), "stored")
    assert borne_storage(bench, stored, lambda path: True) is stored
    assert bench.labels == ["stored"]


def test_late_nothing_is_judged_any_more():
    bench = Bench(is_late=True)
    stored = bench.make(prefer(UNITS), "stored")
    assert borne_storage(bench, stored, lambda path: pytest.fail("judged")) is stored


@pytest.mark.parametrize("choice", ["dynamic", None])
def test_everything_can_compute_in_float_and_nothing_else_is_new(choice):
    conv = UNITS[0]
    assert conv.can("float") and conv.can("static") and not conv.can(choice)
