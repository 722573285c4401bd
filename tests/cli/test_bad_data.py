"""Every kind of bad data, as a user types it: a clear error, exit code 4, nothing trained."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.cli.main import main_inner


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, size=(8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def folder_of(root: Path, counts: dict[str, int]) -> Path:
    """``{"cat": 10}`` becomes ten different images in ``root/cat``."""
    seed = 0
    root.mkdir()
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            (root / name / f"{index}.png").write_bytes(png(seed))
            seed += 1
    return root


def empty_folder(tmp: Path) -> Path:
    return folder_of(tmp / "data", {})


def folder_of_texts(tmp: Path) -> Path:
    root = folder_of(tmp / "data", {"cat": 0})
    (root / "cat" / "notes.txt").write_text("no image")
    return root


def one_class(tmp: Path) -> Path:
    return folder_of(tmp / "data", {"cat": 20})


def class_missing_from_train(tmp: Path) -> Path:
    return folder_of(tmp / "data", {"train/cat": 9, "test/cat": 3, "test/dog": 3})


def too_few_to_split(tmp: Path) -> Path:
    return folder_of(tmp / "data", {"cat": 20, "dog": 2})


def many_corrupt(tmp: Path) -> Path:
    root = folder_of(tmp / "data", {"cat": 9, "dog": 9})
    for index in range(3):
        (root / "dog" / f"broken{index}.png").write_bytes(png(index)[:60])
    return root


def all_corrupt(tmp: Path) -> Path:
    root = folder_of(tmp / "data", {"cat": 0, "dog": 0})
    for name in ("cat", "dog"):
        (root / name / "broken.png").write_bytes(png(0)[:60])
    return root


def not_a_zip(tmp: Path) -> Path:
    path = tmp / "data.zip"
    path.write_bytes(b"PK but no zip")
    return path


def truncated_zip(tmp: Path) -> Path:
    path = tmp / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(6):
            archive.writestr(f"cat/{index}.png", png(index))
    path.write_bytes(path.read_bytes()[:-40])
    return path


def hostile_zip(tmp: Path) -> Path:
    path = tmp / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../evil/1.png", png(0))
    return path


def manifest(tmp: Path, text: str) -> Path:
    path = tmp / "data.csv"
    path.write_text(text)
    return path


def manifest_without_labels(tmp: Path) -> Path:
    return manifest(tmp, "path,kind\na.png,cat\n")


def manifest_outside_its_folder(tmp: Path) -> Path:
    return manifest(tmp, "path,label\n../../etc/passwd,cat\n")


def manifest_with_a_missing_file(tmp: Path) -> Path:
    return manifest(tmp, "path,label\nabsent.png,cat\n")


def arrays(tmp: Path, **values: object) -> Path:
    path = tmp / "data.npz"
    np.savez(path, **values)
    return path


def nan_in_images(tmp: Path) -> Path:
    images = np.full((20, 8, 8), 0.5, np.float32)
    images[7, 1, 1] = np.nan
    return arrays(tmp, images=images, labels=np.arange(20) % 2)


def nan_in_signals(tmp: Path) -> Path:
    windows = np.zeros((20, 3, 16), np.float32)
    windows[4] = np.nan
    return arrays(tmp, x_acc=windows, y=np.arange(20) % 2)


def pickled_objects(tmp: Path) -> Path:
    objects = np.array([{"not": "an array"}] * 4, dtype=object)
    return arrays(tmp, images=objects, labels=np.arange(4))


def labels_of_another_length(tmp: Path) -> Path:
    return arrays(tmp, images=np.zeros((20, 8, 8), np.uint8), labels=np.arange(19))


def unknown_suffix(tmp: Path) -> Path:
    path = tmp / "data.rar"
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (empty_folder, "no images found"),
        (folder_of_texts, "no images found"),
        (one_class, "class"),
        (class_missing_from_train, "dog"),
        (too_few_to_split, "'dog' has 2 distinct sample(s)"),
        (many_corrupt, "more than 2 unreadable files"),
        (all_corrupt, "none of 2 image file(s) can be read, the first is cat/broken.png"),
        (not_a_zip, "not a zip, or truncated"),
        (truncated_zip, "not a zip, or truncated"),
        (hostile_zip, "hostile member name"),
        (manifest_without_labels, "label"),
        (manifest_outside_its_folder, "passwd"),
        (manifest_with_a_missing_file, "absent.png"),
        (nan_in_images, "NaN or infinite values in 1 row(s), the first is row 7"),
        (nan_in_signals, "NaN or infinite values in 1 row(s), the first is row 4"),
        (pickled_objects, "save plain arrays"),
        (labels_of_another_length, "20 rows, the labels 19"),
        (unknown_suffix, "unknown kind of file '.rar'"),
    ],
)
def test_bad_data_is_an_error_with_exit_code_4(make, words, tmp_path, capsys):
    output = tmp_path / "run"
    data = ["--data", str(make(tmp_path)), "--max-bad-files", "2"]
    assert main_inner(["teach", *data, "--model", "resnet8", "-o", str(output)]) == 4
    captured = capsys.readouterr()
    _, found, message = captured.err.partition("edgekd: error: ")
    assert found
    assert words in message  # a manifest lists all its problems, a line each
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert not (output / "bundle.json").exists()


def test_a_few_corrupt_files_are_named_counted_and_skipped(tmp_path, capsys):
    data = ["--data", str(many_corrupt(tmp_path)), "--max-bad-files", "3"]
    tiny = ["--model", "resnet8", "--set", "student_options.width=4", "--epochs", "1"]
    output = tmp_path / "run"
    assert main_inner(["teach", *data, *tiny, "--precision", "fp32", "-o", str(output)]) == 0
    warned = capsys.readouterr().err
    assert all(f"broken{index}.png" in warned for index in range(3))
    assert '"skipped_files": 3' in (output / "bundle.json").read_text()


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_contradicting_labels_are_a_warning_that_quiet_does_not_hide(tmp_path, capsys, quiet):
    root = folder_of(tmp_path / "data", {"cat": 9, "dog": 9})
    (root / "dog" / "twin.png").write_bytes((root / "cat" / "0.png").read_bytes())
    tiny = ["--model", "resnet8", "--set", "student_options.width=4", "--epochs", "1"]
    command = ["teach", "--data", str(root), *tiny, *quiet, "--precision", "fp32"]
    assert main_inner([*command, "-o", str(tmp_path / "run")]) == 0
    assert "twin.png" in capsys.readouterr().err
