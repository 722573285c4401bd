"""Students of sensors in all their forms, as files of both formats with several named inputs."""

import numpy as np
import pytest
import torch
from sensor_file import write_sensors
from tiny_bundle import write_bundle_of

from edgekd.bench.select import select
from edgekd.bundle import read_bundle
from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.data.open import open_dataset
from edgekd.data.preprocess import suggest_preprocess
from edgekd.evaluate.classification import normalise_all, to_view
from edgekd.export.describe import describe
from edgekd.export.run import export
from edgekd.runtimes.session import open_session
from edgekd.students.build import build_student, load_student, parse_student_for

# Random weights: near ties between classes, so agreement is not what is tested here.
LOOSE = {"min_agreement": 0.0, "max_drop_points": 100.0, "min_sqnr_db": -100.0, "num_parity": 20}
SENSORS, IMAGE_AND_SENSOR = ("acc", "gyro"), ("image", "gyro")


class Deaf(SilentConsole):
    def warn(self, text):
        """What int8 does to random weights."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pixels = np.random.default_rng(1).integers(0, 256, (180, 8, 8, 3), dtype=np.uint8)
    return write_sensors(tmp_path_factory.mktemp("data") / "body.npz", x=pixels)


def write_student(folder, data, modalities, options):
    """A bundle with random weights and norms that have seen the training windows."""
    recipe = ExportRecipe(data=str(data), modalities=modalities)
    dataset = open_dataset(recipe, SilentConsole())
    preprocess = suggest_preprocess(dataset, input_size=None, fit="crop")
    torch.manual_seed(0)
    arch = parse_student_for(None, {"width": 4} | options, inputs=preprocess.inputs, num_classes=3)
    module = build_student(arch)
    views = [
        to_view(dataset.splits["train"].load(None, spec), torch.device("cpu"))
        for spec in preprocess.inputs
    ]
    with torch.no_grad():
        for _ in range(20):
            module.train()(*normalise_all(views, preprocess.inputs))
    write_bundle_of(folder, arch, module.eval(), preprocess, dataset.train_class_names)


@pytest.mark.parametrize(
    ("modalities", "options", "int8"),
    [
        (SENSORS, {"fusion": "cross-attention"}, "fast"),
        (SENSORS, {"encoder": "transformer"}, None),
        (IMAGE_AND_SENSOR, {"image_width": 4}, "fast"),
    ],
)
def test_every_form_is_exported_to_both_formats_and_answers_like_torch(
    data, tmp_path, modalities, options, int8
):
    write_student(tmp_path / "student", data, modalities, options)
    plan = ExportRecipe(
        data=str(data), modalities=modalities, int8=int8, search_seconds=0, num_calibration=64,
        **LOOSE,
    )  # fmt: skip
    models = export(tmp_path / "student", tmp_path / "out", plan, Deaf())
    assert len(models) == (2 if int8 is None else 4)
    record, module = load_student(tmp_path / "student")
    assert record == read_bundle(tmp_path / "student")
    val = open_dataset(plan, SilentConsole()).splits["val"]
    decoded = [val.load(np.arange(4), spec) for spec in record.preprocess.inputs]
    views = [to_view(values, torch.device("cpu")) for values in decoded]
    with torch.no_grad():
        expected = module(*normalise_all(views, record.preprocess.inputs)).numpy()
    for model in models:
        assert {spec.name for spec in model.inputs} == set(modalities)
        found = np.concatenate(
            [answer(tmp_path / "out" / model.file, [v[i : i + 1] for v in decoded])
             for i in range(4)]
        )  # fmt: skip
        if model.precision == "fp32":
            np.testing.assert_allclose(found, expected, atol=1e-4)
            assert describe(tmp_path / "out" / model.file)["macs"] == record.macs
        else:
            noise = np.square(found - expected).mean() / np.square(expected).mean()
            assert noise < 0.05  # 13 dB


def answer(path, samples):
    """What a file answers to one decoded sample, as a device feeds it."""
    (candidate,) = select([path], baseline=False)
    session = open_session(path, num_threads=1, encodings=candidate.encodings)
    return session.decode(session.invoke(session.encode(samples)))
