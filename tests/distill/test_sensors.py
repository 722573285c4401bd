"""Several sensors from file to bundle, exported file and measurement."""

import json

import numpy as np
import pytest
import torch
from sensor_file import write_sensors

from edgekd.bench.run import bench
from edgekd.bench.select import select
from edgekd.config import BenchRecipe, ExportRecipe, TrainRecipe
from edgekd.console import SilentConsole
from edgekd.distill.checkpoint import read_checkpoint
from edgekd.distill.run import distill
from edgekd.errors import DataError
from edgekd.export.run import export
from edgekd.runtimes.session import open_session
from edgekd.students.build import load_student

GROUPS = {"group": "subject", "test_groups": ("6",), "val_groups": ("5",)}


class Deaf(SilentConsole):
    def warn(self, text):
        """A busy machine is no failure of this test."""


def recipe(data, **changes):
    plan = {
        "data": str(data),
        "student_options": {"width": 4},
        "epochs": 6,
        "batch_size": 30,
        "lr": 0.05,
        "precision": "fp32",
        "num_threads": 1,
        **GROUPS,
    }
    return TrainRecipe(**(plan | changes))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_sensors(tmp_path_factory.mktemp("data") / "body.npz")


@pytest.fixture(scope="module")
def fused(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fused") / "run"
    return folder, distill(recipe(data, epochs=25), folder)


@pytest.fixture(scope="module")
def files(fused, data, tmp_path_factory):
    """All four files of the fused student, and their records."""
    folder = tmp_path_factory.mktemp("files")
    # Which operators are int8 is decided by a race, which a busy machine decides otherwise.
    plan = ExportRecipe(data=str(data), int8="fast", search_seconds=0, num_calibration=64, **GROUPS)
    return folder, export(fused[0], folder, plan, Deaf())


def measure(data, *paths, **changes):
    quick = {"num_threads": (1,), "num_calls": 3, "num_warmup": 1, "min_seconds": 0.0}
    return bench(paths, BenchRecipe(data=str(data), **(quick | GROUPS | changes)), Deaf())


def test_a_bundle_of_two_sensors_holds_what_each_needs(fused):
    folder, record = fused
    assert record == load_student(folder)[0]
    assert [(spec.name, spec.shape) for spec in record.preprocess.inputs] == [
        ("acc", (3, 40)), ("gyro", (2, 16))
    ]  # fmt: skip
    assert record.arch.family == "sensor"
    assert record.metrics[1].value > 0.9
    assert record.provenance.data.num_samples == {"train": 120, "val": 30, "test": 30}


def test_layered_distillation_has_heads_for_every_sensor_and_strips_them(data, tmp_path):
    record = distill(recipe(data, method="lsskd", epochs=2), tmp_path / "run")
    plain = distill(recipe(data, epochs=1), tmp_path / "plain")
    assert (record.num_params, record.macs) == (plain.num_params, plain.macs)
    names = read_checkpoint(tmp_path / "run" / "checkpoint.safetensors").parts["student"]
    branches = {name.split(".")[1] for name in names if name.startswith("branches.")}
    assert len(branches) == 3 + 3 + 1  # stages of acc, of gyro, and what is fused
    row = json.loads((tmp_path / "run" / "history.jsonl").read_text().splitlines()[-1])
    assert row["kl_loss"] >= 0


@pytest.mark.parametrize("method", ["kd", "lsskd"])
def test_a_larger_student_of_the_same_sensors_teaches(fused, data, tmp_path, method):
    folder, taught = fused
    plan = recipe(data, method=method, teacher=str(folder), epochs=2, student_options={"width": 2})
    record = distill(plan, tmp_path / "run")
    assert record.provenance.teacher.sha256 == taught.weights_sha256
    assert record.num_params < taught.num_params
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in history]
    assert 0 < rows[1]["kd_loss"] < rows[0]["kd_loss"]


def test_rotations_are_refused_with_an_explanation(data, tmp_path):
    from edgekd.errors import ConfigError

    plan = recipe(data, method="lsskd", lsskd={"transformations": ["rotate"]})
    with pytest.raises(ConfigError, match="no upright"):
        distill(plan, tmp_path / "run")


def test_one_modality_alone(data, tmp_path):
    record = distill(recipe(data, modalities=("gyro",), epochs=1), tmp_path / "run")
    assert [spec.name for spec in record.preprocess.inputs] == ["gyro"]


def test_image_and_vector_are_one_sample(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (180, 8, 8, 3), dtype=np.uint8)
    vector = np.arange(360.0).reshape(180, 2)
    data = write_sensors(tmp_path / "mixed.npz", x=images, x_env=vector)
    plan = recipe(data, epochs=1, modalities=("image", "env"), method="lsskd",
                  student_options={"width": 4, "image_width": 4})  # fmt: skip
    record = distill(plan, tmp_path / "run")
    assert [spec.name for spec in record.preprocess.inputs] == ["image", "env"]
    assert record.preprocess.inputs[1].shape == (2, 1)


def test_exported_files_take_named_inputs_and_answer_alike(fused, files, data):
    record, (folder, models) = fused[1], files
    assert [model.precision for model in models[::2]] == ["fp32", "fp32"]
    for model in models:
        assert {spec.name for spec in model.inputs} == {"acc", "gyro"}
        assert model.num_params <= record.num_params
        assert model.parity.top1_agreement > 0.9
    report = measure(data, folder)
    assert len(report) == 4
    assert all(m.metric is not None and m.metric.value > 0.8 for m in report)
    candidate = select([folder / models[0].file], baseline=False)[0]
    session = open_session(candidate.path, num_threads=1, encodings=candidate.encodings)
    broken = [np.zeros((1, *spec.shape), np.float32) for spec in record.preprocess.inputs]
    broken[0][0, 0, 0] = np.nan
    with pytest.raises(DataError, match="acc: NaN"):
        session.encode(broken)


@pytest.mark.parametrize("missing", ["acc", "gyro"])
def test_a_missing_sensor_degrades_every_file_instead_of_failing(fused, files, data, missing):
    """Far above chance, which is a third; also in torch."""
    found = measure(data, files[0], fused[0], baseline=True, missing=(missing,))
    assert sorted(m.format for m in found) == ["onnx", "onnx", "tflite", "tflite", "torch"]
    for measured in found:
        assert measured.missing == (missing,)
        assert measured.metric.value > 0.6


def test_an_unknown_group_or_modality_is_named(data, tmp_path):
    with pytest.raises(DataError, match="no group '9' in subject; it has 1, 2, 3, 4, 5, 6"):
        distill(recipe(data, test_groups=("9",)), tmp_path / "a")
    with pytest.raises(DataError, match="no modality 'mag'; it has acc, gyro"):
        distill(recipe(data, modalities=("mag",)), tmp_path / "b")


def test_a_torch_module_takes_the_inputs_in_the_order_of_the_record(fused):
    _, module = load_student(fused[0])
    assert module(torch.zeros(2, 3, 40), torch.zeros(2, 2, 16)).shape == (2, 3)
