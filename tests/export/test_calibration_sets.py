"""Poor calibration sets as a user types them: each gives the documented result or error."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from edgekd.bundle import read_record
from edgekd.cli.main import main_inner
from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.errors import DataError
from edgekd.export.samples import gather_samples
from edgekd.records import ExportedModel, Preprocess, SignalInput

LENIENT = ["--min-sqnr-db", "-100", "--min-agreement", "0", "--max-drop", "100"]
SPLITS = np.array(["train"] * 40 + ["val"] * 10 + ["test"] * 10)


def export(student, data, output, *flags):
    formats = ["--format", "onnx", "--int8", "full", "--num-parity", "10"]
    arguments = ["--data", str(data), *formats, *flags, "-o", str(output)]
    return main_inner(["export", str(student.folder), *arguments])


def int8_record(output):
    return read_record(ExportedModel, output / "student.int8.onnx.json")


def npz(folder, images, **arrays):
    path = folder / "data.npz"
    np.savez(path, x=images, y=np.arange(len(images)) % 10, **arrays)
    return path


def noise(size, *, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (60, size, size), dtype=np.uint8)


def test_one_image_gives_a_file_whose_record_says_so(student, tmp_path):
    assert export(student, "builtin:digits", tmp_path, "--num-calibration", "1", *LENIENT) == 0
    model = int8_record(tmp_path)
    assert model.precision == "int8-static"
    assert "ranges were set from 1 sample only" in model.notes


def test_what_one_image_spoils_is_refused_with_exit_code_6(student, tmp_path, capsys):
    flags = ["--num-calibration", "1", *LENIENT, "--min-sqnr-db", "90"]
    assert export(student, "builtin:digits", tmp_path, *flags) == 6
    assert "For int8 try more --num-calibration" in capsys.readouterr().err
    report = json.loads((tmp_path / "student.int8.onnx.failed.json").read_text())
    assert "ranges were set from 1 sample only" in report["model"]["notes"]


def test_images_that_never_change_give_a_file_whose_record_says_so(student, tmp_path, capsys):
    data = npz(tmp_path, np.full((60, 8, 8), 77, np.uint8), split=SPLITS)
    assert export(student, data, tmp_path / "o", *LENIENT) == 0
    assert "1 content with different labels" in capsys.readouterr().err
    model = int8_record(tmp_path / "o")
    assert model.precision == "int8-static"
    assert model.parity.sqnr_db is None or np.isfinite(model.parity.sqnr_db)
    assert any("activations never changed in calibration" in note for note in model.notes)


def test_images_that_never_change_cannot_be_split(student, tmp_path, capsys):
    data = npz(tmp_path, np.full((60, 8, 8), 77, np.uint8))
    assert export(student, data, tmp_path / "o", *LENIENT) == 4
    assert "has 1 distinct sample(s)" in capsys.readouterr().err


def test_images_of_another_size_are_fitted_as_in_training(student, tmp_path):
    images = noise(12)
    data = npz(tmp_path, images, split=SPLITS)
    assert export(student, data, tmp_path / "o", *LENIENT) == 0
    record = int8_record(tmp_path / "o")
    assert record.inputs[0].shape == ("batch", 1, 8, 8)
    recipe = ExportRecipe(data=str(data), int8="full")
    found = gather_samples(record, lambda x: x.flatten(1), recipe, SilentConsole()).calibration
    fitted = [Image.fromarray(x).resize((8, 8), Image.Resampling.BILINEAR) for x in images[:40]]
    expected = {np.asarray(image).tobytes() for image in fitted}
    assert {pixels.tobytes() for pixels in found.decoded[0]} == expected


def test_images_with_nan_are_exit_code_4(student, tmp_path, capsys):
    images = noise(8).astype(np.float32) / 255
    images[7, 1, 1] = np.nan
    assert export(student, npz(tmp_path, images, split=SPLITS), tmp_path / "o", *LENIENT) == 4
    said = capsys.readouterr().err
    assert "NaN or infinite values in 1 row(s), the first is row 7" in said
    assert not (tmp_path / "o" / "student.int8.onnx").exists()


def windows(folder, length):
    path = folder / f"windows{length}.npz"
    values = np.random.default_rng(0).standard_normal((60, 3, length), np.float32)
    np.savez(path, x_acc=values, y=np.arange(60) % 10, split=SPLITS)
    return path


def test_windows_in_the_place_of_images_are_exit_code_4(student, tmp_path, capsys):
    assert export(student, windows(tmp_path, 16), tmp_path / "o", *LENIENT) == 4
    said = capsys.readouterr().err
    assert "the model takes 'image', the data hold the signals acc" in said


def test_windows_of_another_length_are_refused(tmp_path):
    spec = SignalInput(name="acc", channels=3, length=20, mean=(0.0,) * 3, std=(1.0,) * 3)
    record = SimpleNamespace(
        preprocess=Preprocess(inputs=(spec,)), labels=tuple("0123456789"), task="classification"
    )
    recipe = ExportRecipe(data=str(windows(tmp_path, 16)), int8="full")
    with pytest.raises(DataError, match=r"signal 'acc' is \(3, 16\), the model takes \(3, 20\)"):
        gather_samples(record, None, recipe, SilentConsole())
