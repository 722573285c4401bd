from types import SimpleNamespace

import pytest
from small_onnx import samples, write_small_network

from edgekd.config import ExportRecipe
from edgekd.export.formats import Candidate
from edgekd.export.quantization.onnx_quantizer import OnnxQuantizer
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.recipe import Figures, Int8Recipe
from edgekd.export.quantization.units import prefer
from edgekd.export.recovery_points import points_in_float


@pytest.fixture
def made(tmp_path):
    """A source with its fp32 file, what every activation holds, and candidates of recipes."""
    quantizer = OnnxQuantizer(write_small_network(tmp_path / "student.onnx"), "x86")
    collector = RangeCollector(seed=0, per_batch=100)
    quantizer.calibrate(samples(16), collector)
    source = SimpleNamespace(work=tmp_path, recipe=ExportRecipe())
    calibration = SimpleNamespace(feeds=lambda *_, **__: samples(16))

    def candidate(choices, *, mode="fast", fallback=None):
        figures = Figures(speedup=1.0, sqnr_db=30.0, seconds=1.0, candidates=1, fallback=fallback)
        recipe = Int8Recipe(
            format="onnx", mode=mode, source_sha256="", processor="x86", versions={},
            operators=dict(choices), ranges={}, figures=figures,
        )  # fmt: skip
        path = tmp_path / "student.int8.onnx"
        return Candidate(path=path, format="onnx", int8=True, int8_recipe=recipe)

    def found(*candidates):
        return points_in_float(collector.extremes(), candidates, source, calibration)

    return quantizer, candidate, found


def test_what_a_float_unit_reads_is_left_unrounded(made):
    quantizer, candidate, found = made
    conv = next(unit.name for unit in quantizer.units if unit.kind == "Conv depthwise")
    choices = {**prefer(quantizer.units), conv: "static"}
    assert quantizer.rounded(choices) == {"h1", "r2"}  # what it reads, and its ReLU
    left = found(candidate(choices))
    assert {"image", "c1", "c3", "m3", "logits"} <= left
    assert not {"h1", "r2"} & left


def test_what_either_file_holds_in_8_bits_is_rounded(made):
    quantizer, candidate, found = made
    first, last = (
        next(unit.name for unit in quantizer.units if unit.kind == kind)
        for kind in ("Conv depthwise", "Conv pointwise")
    )
    one, other = ({**prefer(quantizer.units), name: "static"} for name in (first, last))
    both = found(candidate(one), candidate(other))
    assert both == found(candidate(one)) & found(candidate(other))
    assert "c3" in found(candidate(one))
    assert "c3" not in both


@pytest.mark.parametrize("how", [{"mode": "full"}, {"fallback": "nothing was faster"}])
def test_where_no_mixture_was_found_everything_is_rounded(made, how):
    quantizer, candidate, found = made
    assert found(candidate(prefer(quantizer.units), **how)) == frozenset()
    assert found() == frozenset()
    assert found(candidate(prefer(quantizer.units))) == frozenset()  # nothing is int8
