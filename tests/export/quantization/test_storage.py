"""Weights that stay in float because the answers do not bear them in 8 bits."""

from types import SimpleNamespace

import pytest

from edgekd.export.quantization.candidates import Candidate
from edgekd.export.quantization.storage import quiet_storage, spare_small_weights
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

    def __init__(self, path="file"):
        self.path, self.labels = path, []

    def make(self, choices, label):
        self.labels.append(label)
        return Candidate(label=label, choices=dict(choices), path=self.path)

    def sqnr_db(self, candidate):
        noisy = [n for n, choice in candidate.choices.items() if choice == "weights"]
        return {0: 200.0, 1: 40.0, 2: 30.0, 3: 19.5}[len(noisy)]


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


@pytest.mark.parametrize("choice", ["dynamic", None])
def test_everything_can_compute_in_float_and_nothing_else_is_new(choice):
    conv = UNITS[0]
    assert conv.can("float") and conv.can("static") and not conv.can(choice)
