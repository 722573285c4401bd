"""Sensors and self-distillation as a user types them: what is refused, and how it is said."""

import json

import pytest
from sensor_file import write_sensors

from edgekd.bundle import read_bundle
from edgekd.cli.main import main_inner

FAST = ["--epochs", "1", "--threads", "1", "--precision", "fp32", "--batch-size", "30"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(write_sensors(tmp_path_factory.mktemp("data") / "body.npz"))


def distill(data, *more, method="lsskd"):
    return main_inner(["distill", "--data", data, "--method", method, *FAST, *more])


def test_flags_leave_a_subject_out_and_choose_sensors_and_labels(data, tmp_path, capsys):
    output = str(tmp_path / "run")
    groups = ("--group", "subject", "--test-groups", "5,6", "--modalities", "acc,gyro")
    few = ("--label-fraction", "0.5", "--set", "student_options.width=4", "--no-flip")
    assert distill(data, *groups, *few, "--json", "-o", output) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["method"] == "lsskd"
    provenance = read_bundle(tmp_path / "run").provenance
    assert provenance.recipe["label_fraction"] == 0.5
    assert provenance.recipe["test_groups"] == ["5", "6"]
    assert provenance.data.num_samples == {"train": 45, "val": 30, "test": 60}
    assert main_inner(["inspect", output]) == 0
    said = capsys.readouterr().out
    assert "acc: float32 batch x 3 x 40 NCT" in said
    assert "gyro: float32 batch x 2 x 16 NCT" in said


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--set", 'lsskd.transformations=["rotate"]'], 3, "a window of sensor values has no"),
        (["--label-fraction", "0"], 2, "--label-fraction 0: should be more than 0"),
        (["--test-groups", "5"], 2, "--test-groups needs --group, the name of the column"),
        (["--group", "subject", "--test-groups", "7"], 4, "no group '7' in subject"),
        (["--modalities", "temperature"], 4, "no modality 'temperature'; it has acc, gyro"),
        (["--student", "resnet8"], 8, "takes one image, the data have acc, gyro"),
        (["--student", "timm:resnet18", "--pretrained"], 8, "takes one image, the data have acc"),
        (["--pretrained"], 8, "a student of sensors has no published weights"),
        (["--mixup", "0.2"], 2, "remembers single ones"),
        (["--randaugment", "9"], 4, "take out what is for images: augment.randaugment"),
        (["--flip"], 4, "for images: augment.flip"),
        (["--erasing", "0.5"], 4, "for images: augment.erasing"),
        (["--set", "augment.crop_padding=2"], 4, "for images: augment.crop_padding"),
        (["--set", "augment.until=0.5"], 4, "for images: augment.until"),
        (["--input-size", "16", "--fit", "pad"], 4, "for images: input_size, fit"),
        (["--set", "student_options.heads=2"], 8, "no option 'heads'"),
        (["--teacher", "t.onnx"], 8, "teachers answer one image"),
        (["--task", "retrieval"], 2, "not for retrieval"),
    ],
)
def test_what_does_not_fit_is_one_line(data, tmp_path, capsys, monkeypatch, flags, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.onnx").write_bytes(b"whatever it is, it takes one image")
    assert distill(data, *flags, "-o", str(tmp_path / "run")) == code
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_ps_kd_wants_no_teacher(data, tmp_path, capsys):
    assert distill(data, "--teacher", "t", "-o", str(tmp_path / "run"), method="ps-kd") == 8
    assert "learns from its own past" in capsys.readouterr().err
