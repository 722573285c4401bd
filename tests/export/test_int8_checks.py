from types import SimpleNamespace

import pytest

from edgekd.export import int8_checks
from edgekd.export.int8_checks import check_int8, findings, not_checked, operator_problems
from edgekd.export.reference_kernels import not_made
from edgekd.records import Int8Checks, OperatorCheck, ReferenceCheck
from edgekd.runtimes.encoding import InputEncoding

ALONE = OperatorCheck(num_operators=53, share=1.0, lowest_share=0.9995, worst="MEAN pooled")
AGREES = ReferenceCheck(
    runtime="tensorflow 2, reference kernels", share=1.0, step=0.1, num_samples=4, operators=ALONE
)


def model(exported, **changes):
    fields = {"saturated": {}, "dead_channels": {}, "reference": AGREES} | changes
    checked = exported.models["student.int8.tflite"]
    return checked.model_copy(update={"int8_checks": Int8Checks(**fields)})


def test_a_real_file_is_checked(exported):
    checks = exported.models["student.int8.tflite"].int8_checks
    assert checks.dead_channels == {}
    assert all(share > 0.001 for share in checks.saturated.values())
    reference = checks.reference
    assert reference.share is None or reference.share >= 0.999
    assert reference.share is None or reference.operators.share >= 0.999
    assert exported.models["student.int8.onnx"].int8_checks.reference is None
    assert exported.models["student.tflite"].int8_checks is None


def test_nothing_to_say_of_a_healthy_file(exported):
    assert findings(model(exported)) == []
    assert not_checked(model(exported)) is None
    assert findings(exported.models["student.onnx"]) == []


def test_saturation_is_said_from_one_per_cent_on(exported):
    assert findings(model(exported, saturated={"a": 0.009})) == []
    (text,) = findings(model(exported, saturated={"a": 0.02, "b": 0.05, "c": 0.002}))
    assert text.startswith("2 activations lose more than 1% of their values")
    assert "most of all b (5.0%)" in text


def test_dead_channels_are_said(exported):
    (text,) = findings(model(exported, dead_channels={"a": 3, "b": 5}))
    assert text.startswith("8 channels of 2 layers have only zero weights in int8")
    assert text.endswith("most of all b (5)")


def test_kernels_that_disagree_are_a_problem_with_the_name_of_the_operator():
    alone = ALONE.model_copy(update={"share": 0.9985, "lowest_share": 0.25})
    (text,) = operator_problems(AGREES.model_copy(update={"operators": alone}))
    assert text.startswith("of what its 53 int8 operators compute from equal inputs only 99.85%")
    assert "required is 99.9%; least of all of MEAN pooled (25.0%)" in text


def test_kernels_agree_on_999_values_of_1000_or_were_not_compared():
    alone = ALONE.model_copy(update={"share": 0.999, "lowest_share": 0.25})
    assert operator_problems(AGREES.model_copy(update={"operators": alone})) == []
    assert operator_problems(AGREES.model_copy(update={"operators": None})) == []
    assert operator_problems(not_made("tensorflow", "it is not installed")) == []


def test_roundings_that_add_up_from_end_to_end_are_no_finding(exported):
    checked = model(exported, reference=AGREES.model_copy(update={"share": 0.42}))
    assert findings(checked) == []
    assert not_checked(checked) is None


def test_a_check_that_was_not_made_is_said(exported):
    unmade = model(exported, reference=not_made("tensorflow", "it is not installed"))
    assert not_checked(unmade) == "not compared with reference kernels: it is not installed"
    assert findings(unmade) == []
    partly = AGREES.model_copy(update={"operators": None, "reason": "LiteRT cannot run them"})
    assert not_checked(model(exported, reference=partly)) == (
        "not compared operator by operator with reference kernels: LiteRT cannot run them"
    )


@pytest.fixture
def problems(exported, monkeypatch):
    """What ``check_int8`` says of a file, given what comparing its kernels came to."""

    def found(check, noise_db, precision):
        monkeypatch.setattr(int8_checks, "compare_kernels", lambda *_: (check, noise_db))
        recipe = SimpleNamespace(reference_kernels=True, min_sqnr_db=20.0)
        path = exported.folder / "student.int8.tflite"
        image = InputEncoding(
            name="image", kind="image", mean=(0.3,), std=(0.4,), layout="NHWC", raw=False
        )
        checks, texts = check_int8(
            SimpleNamespace(path=path, format="tflite", int8=True, int8_recipe=None),
            SimpleNamespace(recipe=recipe, work=exported.folder),
            SimpleNamespace(samples=[]),
            SimpleNamespace(precision=precision),
            [image],
        )
        assert checks.reference == check  # kept in the record, whatever it says
        return texts

    return found


@pytest.mark.parametrize(("precision", "refused"), [("int8-static", True), ("int8-mixed", False)])
def test_kernels_that_compute_something_else_are_a_problem_of_static_files(
    problems, precision, refused
):
    texts = problems(AGREES.model_copy(update={"share": 0.1}), 3.0, precision)
    assert [text.partition(" (")[0] for text in texts] == [
        "its answers are only 3.0 dB from those of tensorflow 2, reference kernels, required is "
        "20 dB"
    ] * refused


@pytest.mark.parametrize("precision", ["int8-static", "int8-mixed", "int8-dynamic"])
def test_operators_that_disagree_are_a_problem_of_every_file(problems, precision):
    alone = ALONE.model_copy(update={"share": 0.5})
    (text,) = problems(AGREES.model_copy(update={"operators": alone}), 60.0, precision)
    assert text.startswith("of what its 53 int8 operators compute")
