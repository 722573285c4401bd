import json
from pathlib import Path
from typing import get_args

import pytest

from edgekd.cli.main import main_inner
from edgekd.config import MethodName

ARGUMENTS = ["--data", "signs.zip", "--teacher", "runs/t", "--student", "resnet8", "-o", "runs/s"]


@pytest.fixture
def calls(fake_stage, bundle):
    seen = []

    def distill(recipe, output, *, console, resume, overwrite):
        seen.append((recipe, output, resume, overwrite))
        return bundle

    fake_stage("edgekd.distill.run", distill=distill)
    return seen


def test_flags_reach_the_stage_as_one_recipe(calls, capsys):
    flags = ["--method", "kd", "--temperature", "2", "--kd-weight", "0.5", "--seed", "3"]
    assert main_inner(["distill", *ARGUMENTS, *flags, "--resume", "--json"]) == 0
    ((recipe, folder, resume, overwrite),) = calls
    assert (recipe.student, recipe.teacher, recipe.method) == ("resnet8", "runs/t", "kd")
    assert (recipe.kd.temperature, recipe.kd.kd_weight, recipe.seed) == (2.0, 0.5, 3)
    assert (folder, resume, overwrite) == (Path("runs/s"), True, False)
    result = json.loads(capsys.readouterr().out)
    assert result["method"] == "kd"
    assert result["teacher"]["source"] == "runs/teacher"


def test_the_method_is_never_guessed(calls, capsys):
    assert main_inner(["distill", *ARGUMENTS]) == 2
    assert "no --method given: kd learns from --teacher" in capsys.readouterr().err
    assert calls == []
    assert main_inner(["distill", *ARGUMENTS, "--set", "method=kd", "--json"]) == 0


def test_a_teacher_of_whom_nothing_would_be_learned_is_refused(calls, capsys, tmp_path):
    assert main_inner(["distill", *ARGUMENTS, "--method", "none"]) == 2
    said = capsys.readouterr().err
    assert "method none learns from labels alone, not from teacher runs/t; take the teacher" in said
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('data = "d"\nstudent = "resnet8"\nteacher = "runs/t"\n')
    given = ["distill", "--recipe", str(recipe), "-o", "runs/s", "--method"]
    assert main_inner([*given, "none"]) == 3
    assert calls == []
    assert main_inner([*given, "kd"]) == 0


def test_a_tuning_run_leaves_the_test_split_alone(calls):
    assert main_inner(["distill", *ARGUMENTS, "--method", "kd", "--no-score-test"]) == 0
    assert main_inner(["distill", *ARGUMENTS, "--method", "kd"]) == 0
    assert [recipe.score_test for recipe, *_ in calls] == [False, True]


def test_an_unknown_method_is_named_with_the_known_ones(capsys):
    assert main_inner(["distill", *ARGUMENTS, "--method", "magic"]) == 2
    said = capsys.readouterr().err
    assert "--method magic: should be" in said
    assert all(f"'{name}'" in said for name in get_args(MethodName))


@pytest.mark.parametrize("flag", [["--target-macs", "0.3"], ["--shrink-while-training"]])
def test_flags_of_another_method_are_refused(flag, calls, capsys):
    assert main_inner(["distill", *ARGUMENTS, "--method", "kd", *flag]) == 2
    assert "method kd does not read it; take it out, or use method cdd" in capsys.readouterr().err
    assert calls == []


def test_quantization_aware_training_by_flag(calls):
    flags = ["--method", "kd", "--qat", "--qat-from", "0.75"]
    assert main_inner(["distill", *ARGUMENTS, *flags]) == 0
    recipe = calls[0][0]
    assert (recipe.qat, recipe.qat_from, recipe.precision) == (True, 0.75, "fp32")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--qat", "--method", "cdd", "--target-macs", "0.5"], "qat is for methods none and kd"),
        (["--qat-from", "0.5", "--method", "kd"], "without qat nothing is rounded; add --qat"),
        (["--qat", "--method", "kd", "--precision", "bf16"], "use precision fp32"),
    ],
)
def test_quantization_aware_training_that_cannot_be_is_exit_code_2(calls, capsys, flags, said):
    assert main_inner(["distill", *ARGUMENTS, *flags]) == 2
    assert said in capsys.readouterr().err
    assert calls == []
