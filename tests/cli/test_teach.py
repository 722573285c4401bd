import json
from pathlib import Path

import pytest

from edgekd.cli.main import main_inner


@pytest.fixture
def calls(fake_stage, bundle):
    seen = []

    def distill(recipe, output, *, console, resume, overwrite):
        console.info("training")
        seen.append((recipe, output, resume, overwrite))
        return bundle

    fake_stage("edgekd.distill.run", distill=distill)
    return seen


def test_json_is_one_object_about_the_bundle(calls, capsys):
    arguments = ["--data", "signs.zip", "--model", "resnet20", "--epochs", "3", "-o", "runs/t"]
    assert main_inner(["teach", *arguments, "--json"]) == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert result["output"] == "runs/t"
    assert result["arch"]["family"] == "resnet_cifar"
    assert (result["num_params"], result["macs"]) == (78_042, 1_234_567)
    assert result["metrics"][1] == {
        "name": "top1", "value": 0.9525, "split": "test", "num_samples": 260
    }  # fmt: skip
    assert (result["epochs"], result["seed"], result["train_seconds"]) == (3, 7, 12.5)
    assert output.err.startswith("training\n")
    ((recipe, folder, resume, overwrite),) = calls
    assert (recipe.student, recipe.method, recipe.teacher) == ("resnet20", "none", None)
    assert (folder, resume, overwrite) == (Path("runs/t"), False, False)


def test_a_person_sees_a_table(calls, capsys):
    assert main_inner(["teach", "--data", "d", "--model", "m", "-o", "o", "--overwrite"]) == 0
    output = capsys.readouterr()
    assert [line.split() for line in output.out.splitlines()] == [
        ["architecture", "metric", "split", "value", "samples"],
        ["resnet_cifar", "top1", "val", "96.00", "%", "250"],
        ["resnet_cifar", "top1", "test", "95.25", "%", "260"],
    ]
    assert output.err == "training\no: 78.0 k parameters, 1.23 M MACs, trained in 12 s\n"
    assert calls[0][3] is True


@pytest.mark.parametrize("assignment", ["teacher=runs/teacher", "method=kd"])
def test_a_recipe_with_a_teacher_is_for_distill(assignment, calls, capsys):
    arguments = ["--data", "d", "--model", "m", "-o", "o", "--set", assignment]
    assert main_inner(["teach", *arguments]) == 2
    assert "teach learns from labels alone" in capsys.readouterr().err
    assert calls == []


def test_settings_of_a_method_are_not_for_teach(calls, capsys):
    arguments = ["--data", "d", "--model", "m", "-o", "o", "--set", "kd.temperature=3"]
    assert main_inner(["teach", *arguments]) == 3
    assert "kd.temperature = 3: method none does not read it" in capsys.readouterr().err
    assert calls == []
