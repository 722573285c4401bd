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
from edgekd.data.cache import InputSource
from edgekd.data.open import open_dataset
from edgekd.data.preprocess import absent_samples
from edgekd.distill.checkpoint import read_checkpoint
from edgekd.distill.run import distill
from edgekd.errors import DataError
from edgekd.evaluate.classification import predict
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


def test_a_bundle_of_two_sensors_holds_what_each_needs(fused):
    folder, record = fused
    assert record == load_student(folder)[0]
    assert [(spec.name, spec.shape) for spec in record.preprocess.inputs] == [
        ("acc", (3, 40)), ("gyro", (2, 16))
    ]  # fmt: skip
    assert record.arch.family == "sensor"
    assert record.metrics[1].value > 0.9
    assert record.provenance.data.num_samples == {"train": 120, "val": 30, "test": 30}


def test_a_missing_sensor_degrades_instead_of_failing(fused, data):
    folder, record = fused
    specs = record.preprocess.inputs
    test = open_dataset(recipe(data), SilentConsole()).splits["test"]
    source = InputSource(test, specs)
    _, module = load_student(folder)

    class Without:
        def __init__(self, missing):
            self.missing = missing

        def __len__(self):
            return len(source)

        def __getitem__(self, indices):
            parts = list(source[indices])
            parts[self.missing] = absent_samples(specs[self.missing], len(indices))
            return tuple(parts)

    for missing in (0, 1):
        logits = predict(module, Without(missing), specs)
        assert np.mean(logits.argmax(axis=1) == test.labels) > 1 / 3


def test_layered_distillation_has_heads_for_every_sensor_and_strips_them(data, tmp_path):
    record = distill(recipe(data, method="lsskd", epochs=2), tmp_path / "run")
    plain = distill(recipe(data, epochs=1), tmp_path / "plain")
    assert (record.num_params, record.macs) == (plain.num_params, plain.macs)
    names = read_checkpoint(tmp_path / "run" / "checkpoint.safetensors").parts["student"]
    branches = {name.split(".")[1] for name in names if name.startswith("branches.")}
    assert len(branches) == 3 + 3 + 1  # stages of acc, of gyro, and what is fused
    row = json.loads((tmp_path / "run" / "history.jsonl").read_text().splitlines()[-1])
    assert row["kl_loss"] >= 0


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


def test_exported_files_take_named_inputs_and_answer_alike(fused, data, tmp_path):
    folder, record = fused
    # Which operators are int8 is decided by a race, which a busy machine decides otherwise.
    plan = ExportRecipe(data=str(data), int8="fast", search_seconds=0, num_calibration=64, **GROUPS)
    models = export(folder, tmp_path / "out", plan, Deaf())
    assert [model.precision for model in models[::2]] == ["fp32", "fp32"]
    for model in models:
        assert {spec.name for spec in model.inputs} == {"acc", "gyro"}
        assert model.num_params <= record.num_params
        assert model.parity.top1_agreement > 0.9
    report = bench([tmp_path / "out"], BenchRecipe(data=str(data), num_threads=(1,), num_calls=3,
                   num_warmup=1, min_seconds=0.0, **GROUPS), Deaf())  # fmt: skip
    assert len(report) == 4
    assert all(m.metric is not None and m.metric.value > 0.8 for m in report)
    candidate = select([tmp_path / "out" / models[0].file], baseline=False)[0]
    session = open_session(candidate.path, num_threads=1, encodings=candidate.encodings)
    broken = [np.zeros((1, *spec.shape), np.float32) for spec in record.preprocess.inputs]
    broken[0][0, 0, 0] = np.nan
    with pytest.raises(DataError, match="acc: NaN"):
        session.encode(broken)


def test_an_unknown_group_or_modality_is_named(data, tmp_path):
    with pytest.raises(DataError, match="no group '9' in subject; it has 1, 2, 3, 4, 5, 6"):
        distill(recipe(data, test_groups=("9",)), tmp_path / "a")
    with pytest.raises(DataError, match="no modality 'mag'; it has acc, gyro"):
        distill(recipe(data, modalities=("mag",)), tmp_path / "b")


def test_a_torch_module_takes_the_inputs_in_the_order_of_the_record(fused):
    _, module = load_student(fused[0])
    assert module(torch.zeros(2, 3, 40), torch.zeros(2, 2, 16)).shape == (2, 3)
