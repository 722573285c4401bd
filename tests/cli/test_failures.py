"""What goes wrong in a real stage, as a user meets it: one line, and the exit code of its kind."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from program_file import BatchNormed, saved

from edgekd.cli.main import main_inner

TINY = ["--model", "resnet8", "--set", "student_options.width=4", "--epochs", "1"]
FIXED = ["--threads", "1", "--precision", "fp32", "--quiet"]
DIGITS = ["--data", "builtin:digits"]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run of one epoch."""
    folder = tmp_path_factory.mktemp("runs") / "student"
    assert main_inner(["teach", *DIGITS, *TINY, *FIXED, "-o", str(folder)]) == 0
    return folder


def _fails(capsys, arguments: list[str], code: int, *words: str) -> None:
    capsys.readouterr()
    assert main_inner(arguments) == code
    output = capsys.readouterr()
    assert output.out == ""
    line = output.err.splitlines()[-1]
    assert line.startswith("edgekd: ")
    assert "Traceback" not in output.err
    for word in words:
        assert word in line


def test_a_folder_in_use_needs_resume_or_overwrite(run, capsys):
    arguments = ["teach", *DIGITS, *TINY, *FIXED, "-o", str(run)]
    _fails(capsys, arguments, 10, str(run), "--resume", "--overwrite")


def test_a_finished_run_resumes_to_itself_from_its_folder_alone(run, capsys):
    before = (run / "weights.safetensors").read_bytes()
    assert main_inner(["teach", "--resume", "-o", str(run), "--quiet"]) == 0
    assert (run / "weights.safetensors").read_bytes() == before


def test_an_output_that_is_a_file(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = ["export", str(run), "-o", str(tmp_path / "file")]
    _fails(capsys, arguments, 2, "is a file")


@pytest.mark.parametrize(
    ("data", "word"), [("absent.zip", "absent.zip"), ("builtin:letters", "letters")]
)
def test_data_that_is_not_there(data, word, tmp_path, capsys):
    arguments = ["teach", "--data", data, *TINY, *FIXED, "-o", str(tmp_path / "run")]
    _fails(capsys, arguments, 4, word)


def test_one_single_class(tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 255, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "one.npz", images=images, labels=np.zeros(20, dtype=np.int64))
    data = ["--data", str(tmp_path / "one.npz")]
    _fails(capsys, ["teach", *data, *TINY, *FIXED, "-o", str(tmp_path / "run")], 4, "class")


def test_an_unknown_architecture(tmp_path, capsys):
    arguments = ["teach", *DIGITS, "--model", "resnet9", *FIXED, "-o", str(tmp_path / "run")]
    _fails(capsys, arguments, 8, "resnet9")


def test_a_student_or_teacher_that_is_not_there_is_found_before_the_data_are_read(tmp_path, capsys):
    common = ["--data", "absent.zip", *FIXED, "-o", str(tmp_path / "run")]
    _fails(capsys, ["teach", *common, "--model", "resnet9"], 8, "resnet9")
    distill = ["distill", *common, "--method", "kd", "--teacher", "absent", "--student"]
    _fails(capsys, [*distill, "resnet9"], 8, "resnet9")
    _fails(capsys, [*distill, "resnet8"], 8, "teacher absent: no such file or folder")


def test_kd_without_a_teacher(tmp_path, capsys):
    flags = ["--method", "kd", "-o", str(tmp_path / "run")]
    _fails(capsys, ["distill", *DIGITS, *TINY, *FIXED, *flags], 8, "--teacher")


def test_a_loss_that_explodes(tmp_path, capsys):
    flags = ["--lr", "100", "--set", "warmup_epochs=0", "--epochs", "30"]
    arguments = ["teach", *DIGITS, *TINY, *FIXED, *flags, "-o", str(tmp_path / "run")]
    _fails(capsys, arguments, 9, "step", "--lr")


def test_a_teacher_whose_weights_were_cut(run, tmp_path, capsys):
    cut = tmp_path / "cut"
    shutil.copytree(run, cut)
    weights = cut / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    flags = ["--teacher", str(cut), "--method", "kd", "-o", str(tmp_path / "run")]
    _fails(capsys, ["distill", *DIGITS, *TINY, *FIXED, *flags], 5, "weights.safetensors")
    _fails(capsys, ["export", str(cut), "-o", str(tmp_path / "out")], 5, "weights.safetensors")
    assert not (tmp_path / "out").exists()


def test_a_failed_export_removes_only_the_folders_it_made(run, tmp_path, capsys):
    own = tmp_path / "mine"
    own.mkdir()
    for output in (own, own / "new" / "out"):
        arguments = ["export", str(run), "--int8", "--quiet", "-o", str(output)]
        _fails(capsys, arguments, 2, "--data")
    assert list(own.iterdir()) == []


def test_int8_without_data(run, tmp_path, capsys):
    arguments = ["export", str(run), "--int8", "--quiet", "-o", str(tmp_path / "out")]
    _fails(capsys, arguments, 2, "--data")


def test_a_device_that_is_not_known(run, capsys):
    _fails(capsys, ["bench", str(run), "--device", "toaster", "--quiet"], 11, "toaster", "local")


def test_nothing_to_measure(tmp_path, capsys):
    _fails(capsys, ["bench", str(tmp_path), "--quiet"], 2, str(tmp_path))


def test_a_gate_that_fails_leaves_no_file(run, tmp_path, capsys):
    gate = ["--format", "onnx", "--int8", "full", "--min-sqnr-db", "1000"]
    arguments = ["export", str(run), *DIGITS, *gate, "--quiet", "-o", str(tmp_path / "out")]
    _fails(capsys, arguments, 6, "SQNR")
    assert not list((tmp_path / "out").glob("*.onnx"))


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite"])
def test_a_model_file_that_is_none(name, tmp_path, capsys):
    (tmp_path / name).write_bytes(b"not a model at all")
    _fails(capsys, ["inspect", str(tmp_path / name)], 5, name)


def test_a_program_that_cannot_be_exported(tmp_path, capsys):
    path, out = tmp_path / "net.pt2", ["-o", str(tmp_path / "out")]
    path.write_bytes(b"\x80\x04K\x01.")  # a pickle
    _fails(capsys, ["export", str(path), *out], 5, "not an archive of torch.export.save")
    _fails(capsys, ["export", str(tmp_path / "absent.pt2"), *out], 5, "absent.pt2")
    (tmp_path / "net.pt").write_bytes(b"\x80\x04K\x01.")
    _fails(capsys, ["export", str(tmp_path / "net.pt"), *out], 8, "a pickle can run code")
    saved(BatchNormed().train(), path)
    _fails(capsys, ["export", str(path), *out], 8, "training mode", "model.eval()")
    saved(BatchNormed().eval(), path)
    _fails(capsys, ["export", f"{path}#scale=2", *out], 8, "is not understood")
    _fails(capsys, ["export", str(path), "--input-size", "9", *out], 2, "takes 8x8 pixels")
    _fails(capsys, ["export", "--int8", str(path), *out], 2, "give --data as well")
