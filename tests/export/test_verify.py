import numpy as np
import pytest
from tiny_models import write_onnx

from edgekd.errors import ExportError
from edgekd.export.audit import audit_file
from edgekd.export.formats import Candidate
from edgekd.export.quantization.recipe import Int8Recipe
from edgekd.export.verify import (
    Verdict,
    _beyond,
    _check_precision,
    _no_numbers,
    check_full,
    too_large,
)
from edgekd.students.count import Cost


@pytest.mark.parametrize(
    ("precision", "asked_int8", "said"),
    [
        ("fp32", True, "asked for int8, the converter produced fp32 (0% of the MACs in int8)"),
        ("int8-static", False, "asked for fp32, the converter produced int8-static (100%"),
    ],
)
def test_another_precision_than_asked_for_is_an_error(tmp_path, precision, asked_int8, said):
    path = write_onnx(tmp_path / "student.onnx", precision)
    candidate = Candidate(path=path, format="onnx", int8=asked_int8)
    with pytest.raises(ExportError) as failure:
        _check_precision(candidate, audit_file(path))
    assert said in str(failure.value)


def recipe(mode):
    return Int8Recipe(
        format="onnx", mode=mode, source_sha256="", processor="x86", versions={}, operators={},
        ranges={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "precision", "said"),
    [
        ("weights", "int8-dynamic", "asked for int8-weights, the converter produced int8-dynamic"),
        ("dynamic", "int8-weights", "asked for int8-dynamic, the converter produced int8-weights"),
        ("full", "int8-static", "these operators cannot compute in int8: Add x1, Flatten x1"),
    ],
)
def test_a_kind_that_is_asked_for_by_name_is_made_or_it_is_an_error(
    tmp_path, mode, precision, said
):
    path = write_onnx(tmp_path / "student.int8.onnx", precision)
    candidate = Candidate(path=path, format="onnx", int8=True, int8_recipe=recipe(mode))
    with pytest.raises(ExportError) as failure:
        _check_precision(candidate, audit_file(path))
    assert said in str(failure.value)


def test_what_was_asked_for_passes(tmp_path):
    for precision in ("fp32", "int8-static"):
        path = write_onnx(tmp_path / "m.onnx", precision)
        candidate = Candidate(path=path, format="onnx", int8=precision != "fp32")
        _check_precision(candidate, audit_file(path))


def test_answers_that_are_no_numbers_are_counted_for_every_batch_size():
    good = np.zeros((4, 3), np.float32)
    bad, worse = good.copy(), np.full((4, 3), -np.inf, np.float32)
    bad[1, 0], bad[1, 2], bad[3, 1] = np.nan, np.inf, np.inf
    assert _no_numbers({1: good}) == []
    assert _no_numbers({1: good, 3: bad, 5: worse}) == [
        "answers NaN or infinity on 2 of 4 samples at batch 3",
        "answers NaN or infinity on 4 of 4 samples at batch 5",
    ]


def test_a_verdict_without_a_record_has_a_name_and_no_figures(tmp_path):
    candidate = Candidate(path=tmp_path / "student.int8.onnx", format="onnx", int8=True)
    verdict = Verdict(candidate=candidate, model=None, problems=("answers NaN",))
    assert (verdict.file, verdict.metric_drop) == ("student.int8.onnx", None)


def test_full_int8_names_what_stays_in_float():
    check_full({}, "x.onnx")
    with pytest.raises(ExportError, match="Gelu x2, Softmax x1; take --int8 fast"):
        check_full({"Gelu": 2, "Softmax": 1}, "x.onnx")


def test_an_int8_file_that_saves_too_little_is_a_problem(tmp_path):
    candidate = Candidate(
        path=tmp_path / "student.int8.onnx", format="onnx", int8=True, fp32_bytes=2_000_000
    )
    assert too_large(candidate, 800_000, 0.0) == []
    (text,) = too_large(candidate, 1_100_000, 0.2)
    assert text.startswith("its size is 55.0% of fp32, allowed are 40.0%")
    assert too_large(candidate, 1_100_000, 0.9) == []
    fp32 = Candidate(path=tmp_path / "student.onnx", format="onnx", int8=False)
    assert too_large(fp32, 2_000_000, 0.0) == []


def test_a_file_that_computes_more_than_its_network_says_so(tmp_path):
    path = write_onnx(tmp_path / "student.onnx")  # a product of 12 inputs and 3 classes
    facts, candidate = audit_file(path), Candidate(path=path, format="onnx", int8=False)

    def cost(macs, *uncounted):
        return Cost(num_params=39, macs=macs, uncounted_operators=uncounted)

    assert _beyond(candidate, facts, cost(36)) == ()
    assert _beyond(candidate, facts, cost(30)) == ("the file computes 36 MACs, its network 30",)
    assert _beyond(candidate, facts, cost(30, "aten::fft")) == ()  # nobody knows
    int8 = Candidate(path=path, format="onnx", int8=True)
    assert _beyond(int8, facts, cost(30)) == ()
