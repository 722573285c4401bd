from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.console import SilentConsole
from edgekd.errors import ExportError
from edgekd.export import int8_basis
from edgekd.export.adjustments.record import AS_IT_IS, Adjustments, BiasShift, ChannelScaling
from edgekd.export.int8_basis import Basis, Trial, best_basis
from edgekd.export.quantization.candidates import some_rows
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.onnx_quantizer import OnnxQuantizer

WIDTH = 16
SCALING = ChannelScaling(
    kind="equalization", divided=("a",), multiplied=("b",), eighths=(0,) * WIDTH
)
EQUALIZED = Adjustments(scalings=(SCALING,))
SMOOTHED = Adjustments(scalings=(SCALING, SCALING.model_copy(update={"kind": "smoothing"})))
SHIFTED = EQUALIZED.model_copy(
    update={"shifts": (BiasShift(parameter="a.bias", step=1.0, levels=(1,)),)}
)


def write_chain(path, sizes):
    """Two products with ReLU between them; the same function, whatever the sizes of channels."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((8, WIDTH)), rng.standard_normal((WIDTH, 4))
    stored = {"w1": first * sizes, "b1": np.zeros(WIDTH), "w2": second / sizes[:, None]}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], name="first"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("MatMul", ["r", "w2"], ["logits"], name="second"),
        ],
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in stored.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


EVEN, UNEVEN = np.ones(WIDTH), np.geomspace(1, 1000, WIDTH)


class Adjuster:
    """Proposes what it is told to, and remembers what was kept by then."""

    def __init__(self, proposals, settled=None):
        self._proposals, self.settled, self.asked = proposals, settled, []

    def propose(self, kind, kept):
        self.asked.append((kind, kept))
        found = self._proposals.get(kind)
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def workplace(tmp_path):
    made = []

    def basis(sizes, adjustments=AS_IT_IS):
        made.append(adjustments)
        path = write_chain(tmp_path / f"{len(made)}.onnx", sizes)
        quantizer = OnnxQuantizer(path, "x86-vnni")
        return Basis(quantizer=quantizer, fp32=path, adjustments=adjustments)

    def choose(plain_sizes, adjuster, sizes_of, *, feeds=None, clock=None):
        few = {"x": np.random.default_rng(1).standard_normal((40, 8), np.float32)}
        trial = Trial(
            feeds=feeds or few,
            batch=3,
            folder=tmp_path,
            adjuster=adjuster,
            remake=lambda adjustments: basis(sizes_of(adjustments), adjustments),
            clock=clock or Clock(),
        )
        with SilentConsole().track("", total=9) as progress:
            return best_basis(basis(plain_sizes), trial, progress)

    return SimpleNamespace(choose=choose, made=made)


def test_what_helps_is_kept_and_what_does_not_is_not(workplace):
    adjuster = Adjuster({"equalization": EQUALIZED, "smoothing": SMOOTHED})
    found = workplace.choose(UNEVEN, adjuster, lambda a: EVEN if a == EQUALIZED else UNEVEN)
    assert found.basis.adjustments == EQUALIZED
    assert [(t.name, t.places, t.applied) for t in found.tried] == [
        ("equalization", 1, True),
        ("smoothing", 1, False),
    ]
    first, second = found.tried
    assert first.sqnr_db_after > first.sqnr_db_before + 3
    assert second.sqnr_db_before == first.sqnr_db_after == found.static_db
    # the last kind is asked on top of what was kept, not of what was merely tried
    assert adjuster.asked == [
        ("equalization", AS_IT_IS),
        ("smoothing", EQUALIZED),
        ("bias correction", EQUALIZED),
    ]
    assert adjuster.settled == EQUALIZED


def test_a_change_without_a_gain_is_not_kept(workplace):
    adjuster = Adjuster({"equalization": EQUALIZED})
    found = workplace.choose(EVEN, adjuster, lambda _: EVEN)
    assert found.basis.adjustments == AS_IT_IS
    assert not found.tried[0].applied
    assert adjuster.settled == AS_IT_IS


def test_a_second_format_starts_from_what_the_first_has_shown(workplace):
    adjuster = Adjuster({}, settled=SHIFTED)
    found = workplace.choose(UNEVEN, adjuster, lambda _: EVEN)
    assert adjuster.asked == []
    assert [(t.name, t.places, t.applied) for t in found.tried] == [
        ("equalization and bias correction", 2, True)
    ]


def test_a_second_format_keeps_it_only_where_it_helps_there_too(workplace):
    found = workplace.choose(EVEN, Adjuster({}, settled=EQUALIZED), lambda _: UNEVEN)
    assert found.basis.adjustments == AS_IT_IS


def test_where_the_first_found_nothing_the_second_tries_nothing(workplace):
    found = workplace.choose(EVEN, Adjuster({}, settled=AS_IT_IS), lambda _: UNEVEN)
    assert (found.tried, workplace.made) == ((), [AS_IT_IS])


def test_answers_are_held_against_the_network_as_it_is(workplace):
    """A changed network that answers something else is not held against itself."""
    adjuster = Adjuster({"bias correction": SHIFTED})
    found = workplace.choose(EVEN, adjuster, lambda _: EVEN * np.float32([1, -1] * 8))
    assert found.tried[0].sqnr_db_after < 10
    assert found.basis.adjustments == AS_IT_IS


def test_a_network_that_cannot_be_adjusted_is_taken_as_it_is_and_says_so(workplace):
    adjuster = Adjuster({"equalization": ExportError("torch cannot trace the student: no\nmore")})
    found = workplace.choose(EVEN, adjuster, lambda _: EVEN)
    assert found.basis.adjustments == AS_IT_IS
    assert found.notes == ("adjustments for int8 ended early: torch cannot trace the student: no",)


class Hand:
    """The time, as it is set."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


def chosen_slowly(workplace, plain):
    """With time for one step: each takes 40 s, and half of 100 s is for them."""
    hand = Hand()

    def slow(adjustments):
        hand.seconds += 40.0
        return EVEN

    adjuster = Adjuster({"equalization": EQUALIZED, "smoothing": SMOOTHED})
    return workplace.choose(plain, adjuster, slow, clock=Clock(seconds=100.0, now=hand)), adjuster


def test_a_step_that_would_not_end_in_time_is_not_begun(workplace):
    found, adjuster = chosen_slowly(workplace, UNEVEN)
    assert [t.name for t in found.tried] == ["equalization"]
    assert found.basis.adjustments == adjuster.settled == EQUALIZED
    assert found.notes == ("--search-seconds left no time to try smoothing, bias correction",)


def test_what_there_was_no_time_for_is_left_to_the_next_format(workplace):
    found, adjuster = chosen_slowly(workplace, EVEN)  # equalization gains nothing
    assert [(t.name, t.applied) for t in found.tried] == [("equalization", False)]
    assert adjuster.settled is None


def test_without_time_the_network_stays_as_it_is_and_nothing_is_settled(workplace):
    adjuster = Adjuster({"equalization": EQUALIZED})
    found = workplace.choose(UNEVEN, adjuster, lambda _: EVEN, clock=Clock(seconds=0.0))
    assert (found.basis.adjustments, found.tried, adjuster.asked) == (AS_IT_IS, (), [])
    assert adjuster.settled is None
    assert found.notes[0].endswith("equalization, smoothing, bias correction")


def test_what_is_taken_has_seen_all_samples_however_few_judged(workplace):
    feeds = {"x": np.random.default_rng(1).standard_normal((200, 8), np.float32)}
    feeds["x"][100] = 50.0  # not one of the 64 that judge
    seen = some_rows(feeds, 64)["x"]
    assert len(seen) == 64
    assert seen.max() < 50
    adjuster = Adjuster({"equalization": EQUALIZED})
    found = workplace.choose(UNEVEN, adjuster, lambda _: EVEN, feeds=feeds)
    assert found.collector.extremes()["x"][1] == 50.0
    assert found.basis.adjustments == EQUALIZED
    assert [t.name for t in found.tried] == ["equalization"]


def test_of_ranges_that_cut_off_none_few_and_many_values_those_that_answer_best_are_taken(
    workplace, monkeypatch
):
    seen = []

    def answers_by_folder(bench):
        kind = bench.folder.name.rpartition("-")[2]
        seen.append((kind, dict(bench.ranges)))
        return {"max": 10.0, "cautious": 30.0, "best": 20.0}[kind]

    monkeypatch.setattr(int8_basis, "_static_db", answers_by_folder)
    feeds = {"x": np.random.default_rng(1).standard_normal((100, 8), np.float32)}
    found = workplace.choose(EVEN, None, lambda _: EVEN, feeds=feeds)
    assert [kind for kind, _ in seen[:3]] == ["max", "cautious", "best"]
    assert found.static_db == 30.0
    assert found.bench.folder.name.endswith("cautious")
    widths = [ranges["x"][1] - ranges["x"][0] for _, ranges in seen[:3]]
    assert widths == sorted(widths, reverse=True)
