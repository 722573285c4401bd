import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from edgekd.bundle import sha256_of
from edgekd.cli.main import main_inner
from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.data.open import open_dataset
from edgekd.errors import ConfigError
from edgekd.export import recovery
from edgekd.export.folded_weights import load_folded
from edgekd.export.parity import sqnr_db
from edgekd.export.prepare import prepare_for_export
from edgekd.export.quantization.recipe import read_int8_recipe
from edgekd.export.run import export, rows
from edgekd.students.quantized import FakeQuantized

INT8 = ("student.int8.onnx", "student.int8.tflite")
WEIGHTS = "student.recovered.safetensors"
GATE = {"min_agreement": 0.0, "max_drop_points": 100.0, "min_sqnr_db": -100.0, "num_parity": 40}


@dataclass
class Listener:
    """A console that remembers."""

    said: list[str] = field(default_factory=list)

    def info(self, text):
        self.said.append(text)

    warn = info

    def track(self, description, total, done=0):
        return SilentConsole().track(description, total, done)


@dataclass
class Trainer:
    """Moves weights and ranges by known amounts instead of training."""

    asked: list[FakeQuantized] = field(default_factory=list)

    def __call__(self, network, *, student, record, recipe, work, console):
        self.asked.append(network)
        with torch.no_grad():
            for parameter in network.network.parameters():
                parameter.mul_(1.01)
            network.stretch.fill_(0.75)
        return 0.125


@pytest.fixture(scope="module")
def recovered(student, tmp_path_factory):
    """Both formats of the tiny student, recovered by a trainer that moves everything a little."""
    folder, trainer, listener = tmp_path_factory.mktemp("recovered"), Trainer(), Listener()
    recipe = ExportRecipe(
        data="builtin:digits", int8="full", num_calibration=32, recovery={"epochs": 2}, **GATE
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery, "shortfall", lambda *_: "student.int8.onnx: made up")
        models = export(student.folder, folder, recipe, listener, recover=trainer)
    return SimpleNamespace(
        folder=folder, models={m.file: m for m in models}, trainer=trainer, said=listener.said
    )


def test_the_network_is_trained_once_for_both_formats(recovered):
    (network,) = recovered.trainer.asked
    assert network.points[-1].endswith("answer")
    assert "student.int8.onnx: made up: recovering for 2 epochs" in recovered.said
    assert sum("after the recovery" in text for text in recovered.said) == 2


def test_int8_files_say_that_they_were_recovered_and_fp32_files_are_the_students(
    recovered, exported
):
    for name, model in recovered.models.items():
        if name not in INT8:
            assert model.recovery is None
            assert model.sha256 == exported.models[name].sha256
            continue
        assert (model.recovery.epochs, model.recovery.final_loss) == (2, 0.125)
        assert (model.recovery.reason, model.recovery.teacher) == (
            "student.int8.onnx: made up",
            "student",
        )
        assert model.recovery.weights_sha256 == sha256_of(recovered.folder / WEIGHTS)
        recipe = read_int8_recipe(recovered.folder / f"{name}.recipe.json")
        assert recipe.recovery == model.recovery
        assert model.source_sha256 == exported.models[name].source_sha256
    shown = json.loads(json.dumps(rows(list(recovered.models.values()))))
    assert [row["recovery"] and row["recovery"]["epochs"] for row in shown] == [None, 2, None, 2]


@pytest.mark.parametrize("name", INT8)
def test_learned_ranges_are_in_the_files_of_both_formats(recovered, student, name):
    """All ranges were shrunk to 3/4: activations of the network that came out have such ranges."""
    model = recovered.models[name]
    note = next(note for note in model.notes if "that was learned" in note)
    matched, total = (int(word) for word in note.split()[:3:2])
    recipe = read_int8_recipe(recovered.folder / f"{name}.recipe.json")
    points = len(recovered.trainer.asked[0].points)
    assert total == len(recipe.ranges)
    assert matched >= points - 1  # all that the network has, but for what may be alike
    ranges = recovered.trainer.asked[0].ranges()
    found = sum(
        any(np.allclose(own, learned, rtol=1e-6) for learned in ranges.values())
        for own in recipe.ranges.values()
    )
    assert found >= matched


def test_errors_are_against_the_float_network_that_came_out(recovered, student):
    """Weights of 1.01 in every layer answer otherwise than the student: no error of int8."""
    model = recovered.models["student.int8.onnx"]
    image = model.preprocess.image
    val = open_dataset(ExportRecipe(data="builtin:digits"), SilentConsole()).splits["val"]
    rows = np.sort(np.random.default_rng(0).permutation(len(val))[:40])
    x = (val.load(rows, image) / 255 - image.mean[0]) / image.std[0]
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)
    network = load_folded(prepare_for_export(student.module, (image,)), recovered.folder / WEIGHTS)
    session = onnxruntime.InferenceSession(recovered.folder / "student.int8.onnx")
    found = np.concatenate([session.run(None, {"image": x[i : i + 1]})[0] for i in range(40)])
    with torch.no_grad():
        ours = network(torch.from_numpy(x)).numpy()
        students = student.module(torch.from_numpy(x)).numpy()
    assert model.parity.sqnr_db == pytest.approx(sqnr_db(ours, found), abs=0.5)
    assert model.parity.max_abs_err == pytest.approx(np.abs(ours - found).max(), rel=0.05)
    agreement = (students.argmax(axis=1) == found.argmax(axis=1)).mean()
    assert model.parity.top1_agreement == pytest.approx(agreement, abs=0.026)


def test_a_recovered_recipe_makes_the_same_bytes_again_without_training(
    recovered, student, tmp_path
):
    recipes = tuple(str(recovered.folder / f"{name}.recipe.json") for name in INT8)
    models = export(student.folder, tmp_path, ExportRecipe(int8_recipe=recipes, **GATE), Listener())
    assert [model.file for model in models] == list(recovered.models)
    for model in models:
        assert model.sha256 == recovered.models[model.file].sha256
        assert model.recovery == recovered.models[model.file].recovery
    assert sha256_of(tmp_path / WEIGHTS) == sha256_of(recovered.folder / WEIGHTS)


def test_a_recovered_recipe_without_its_weights_is_exit_code_3(
    recovered, student, tmp_path, capsys
):
    recipe = tmp_path / "student.int8.onnx.recipe.json"
    recipe.write_bytes((recovered.folder / recipe.name).read_bytes())
    flags = ["--format", "onnx", "--int8-recipe", str(recipe), "-o", str(tmp_path / "o")]
    assert main_inner(["export", str(student.folder), *flags]) == 3
    said = capsys.readouterr().err
    assert "student.recovered.safetensors: not the weights that the recovery trained" in said
    (tmp_path / WEIGHTS).write_bytes(b"others")
    with pytest.raises(ConfigError, match="its sha256 is another one"):
        export(
            student.folder,
            tmp_path / "o",
            ExportRecipe(formats=("onnx",), int8_recipe=(str(recipe),), **GATE),
        )


def test_files_that_keep_the_budget_train_nothing(student, tmp_path):
    listener = Listener()
    recipe = ExportRecipe(
        data="builtin:digits", int8="full", num_calibration=32, formats=("onnx",),
        recovery={"epochs": 2}, **GATE,
    )  # fmt: skip
    trainer = Trainer()
    models = export(student.folder, tmp_path, recipe, listener, recover=trainer)
    assert trainer.asked == []
    assert "int8 keeps its budget without a recovery" in listener.said
    assert models[1].recovery is None
    assert not (tmp_path / WEIGHTS).exists()


def test_a_file_of_another_tool_is_exit_code_2(tmp_path, capsys):
    path = tmp_path / "network.onnx"
    path.write_bytes(b"x")
    flags = ["--int8", "--recover", "1", "--data", "builtin:digits", "-o", str(tmp_path / "o")]
    assert main_inner(["export", str(path), *flags]) == 2
    assert "network.onnx: --recover trains the network, and this file" in capsys.readouterr().err


def test_a_recovery_without_data_is_exit_code_2(student, tmp_path, capsys):
    flags = ["--int8", "--recover", "1", "--format", "onnx", "-o", str(tmp_path / "o")]
    assert main_inner(["export", str(student.folder), *flags]) == 2
    assert "give --data as well" in capsys.readouterr().err
