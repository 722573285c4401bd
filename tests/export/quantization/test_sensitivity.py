from types import SimpleNamespace

import numpy as np
import pytest
from small_onnx import samples, write_small_network

from edgekd.errors import BundleError, ParityError
from edgekd.export.quantization import sensitivity
from edgekd.export.quantization.calibration import collect
from edgekd.export.quantization.candidates import Workbench, answers, signal_to_noise
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.onnx_quantizer import OnnxQuantizer
from edgekd.export.quantization.recipe import OperatorError
from edgekd.export.quantization.sensitivity import layer_errors
from edgekd.export.quantization.units import prefer


@pytest.fixture
def bench(tmp_path):
    fp32 = write_small_network(tmp_path / "fp32.onnx")
    quantizer, feeds = OnnxQuantizer(fp32, "x86-vnni"), samples(12)
    return Workbench(
        quantizer=quantizer,
        ranges=collect(quantizer, feeds).extremes(),
        feeds=feeds,
        answers=answers(fp32, feeds, batch=3),
        batch=3,
        folder=tmp_path,
    )


def test_each_layer_is_alone_in_int8(bench, tmp_path):
    units = bench.quantizer.units
    found, unmeasured = layer_errors(bench, prefer(units, "static"), ())
    assert unmeasured == 0
    assert {error.layer for error in found} == {unit.name for unit in units}
    levels = [error.sqnr_db for error in found]
    assert levels == sorted(levels)
    worst = found[0]
    alone = {unit.name: "static" if unit.name == worst.layer else "float" for unit in units}
    bench.quantizer.write(alone, bench.ranges, tmp_path / "alone.onnx")
    again = answers(tmp_path / "alone.onnx", bench.feeds, batch=3)
    assert worst.sqnr_db == pytest.approx(signal_to_noise(bench.answers, again))
    assert (worst.kind, worst.computes) == (
        next(unit.kind for unit in units if unit.name == worst.layer),
        "static",
    )


def test_what_computes_in_float_is_not_measured(bench):
    assert layer_errors(bench, prefer(bench.quantizer.units), ()) == ((), 0)
    dynamic, _ = layer_errors(bench, prefer(bench.quantizer.units, "dynamic"), ())
    assert {error.computes for error in dynamic} == {"dynamic"}


def test_layers_of_the_loudest_stretch_come_first(bench, monkeypatch):
    monkeypatch.setattr(sensitivity, "_ALONE", 2)
    names = [unit.name for unit in bench.quantizer.units]
    heard = [OperatorError(operators=tuple(names[3:5]), sqnr_db=10.0)]
    found, unmeasured = layer_errors(bench, prefer(bench.quantizer.units, "static"), heard)
    assert {error.layer for error in found} == set(names[3:5])
    assert unmeasured == len(names) - 2


def test_layers_for_which_there_was_no_time_are_counted(bench):
    bench.clock = Clock(seconds=0.0)
    found, unmeasured = layer_errors(
        bench, prefer(bench.quantizer.units, "static"), (), lambda path: 0.1
    )
    assert len(found) == 1
    assert unmeasured == len(bench.quantizer.units) - 1
    assert found[0].metric_unknown == "the time for it was up"


def test_where_nobody_listened_stretches_are_measured_here(bench, monkeypatch):
    monkeypatch.setattr(sensitivity, "_ALONE", 2)
    monkeypatch.setattr(sensitivity, "_STRETCHES", 2)
    units, static = bench.quantizer.units, prefer(bench.quantizer.units, "static")
    halves = [units[: round(len(units) / 2)], units[round(len(units) / 2) :]]
    levels = []
    for part in halves:
        inside = {unit.name for unit in part}
        choices = {unit.name: "static" if unit.name in inside else "float" for unit in units}
        levels.append(bench.sqnr_db(bench.make(choices, "half")))
    louder = halves[int(np.argmin(levels))]
    found, _ = layer_errors(bench, static, ())
    assert {error.layer for error in found} == {unit.name for unit in louder[:2]}


def test_without_labels_the_metric_is_unknown_and_that_is_said(bench):
    found, _ = layer_errors(bench, prefer(bench.quantizer.units, "static"), ())
    assert {error.metric_drop for error in found} == {None}
    assert {error.metric_unknown for error in found} == {"there are no labels to judge by"}


def test_the_worst_layers_are_judged_by_the_metric(bench, monkeypatch):
    monkeypatch.setattr(sensitivity, "_JUDGED", 2)
    judged = []

    def drop(path):
        judged.append(answers(path, bench.feeds, batch=3))
        return 0.25 * len(judged)

    found, _ = layer_errors(bench, prefer(bench.quantizer.units, "static"), (), drop)
    assert [error.metric_drop for error in found[:2]] == [0.25, 0.5]
    assert [error.metric_unknown for error in found[:2]] == [None, None]
    assert {error.metric_drop for error in found[2:]} == {None}
    assert {error.metric_unknown for error in found[2:]} == {"only the 2 worst layers are judged"}
    for error, answered in zip(found, judged, strict=False):  # the very files that were measured
        assert error.sqnr_db == pytest.approx(signal_to_noise(bench.answers, answered))


def test_no_further_layer_is_judged_when_time_is_up(bench, monkeypatch):
    monkeypatch.setattr(sensitivity, "_SECONDS", -1.0)
    found, _ = layer_errors(bench, prefer(bench.quantizer.units, "static"), (), lambda path: 0.1)
    assert [error.metric_drop for error in found[:2]] == [0.1, None]
    assert found[1].metric_unknown == "the time for it was up"


@pytest.mark.parametrize("fault", [BundleError("cannot run it"), ParityError("answers NaN")])
def test_a_file_that_gives_no_metric_says_why(bench, fault):
    def fail(path):
        raise fault

    found, _ = layer_errors(bench, prefer(bench.quantizer.units, "static"), (), fail)
    worst = found[0]
    assert (worst.metric_drop, worst.metric_unknown) == (None, str(fault))


def test_a_layer_that_cannot_be_written_alone_is_left_out():
    unit = SimpleNamespace(name="conv", kind="Conv")
    bench = SimpleNamespace(
        quantizer=SimpleNamespace(units=(unit,)),
        make=lambda choices, label: SimpleNamespace(path=None),
    )
    assert layer_errors(bench, {"conv": "static"}, ()) == ((), 1)
