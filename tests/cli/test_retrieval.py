"""Retrieval as a user types it: from images to what the int8 files find."""

import csv
import json

import numpy as np
import pytest
from identity_folder import write_identities

from edgekd.bundle import read_bundle
from edgekd.cli.main import main_inner
from edgekd.config import BenchRecipe
from edgekd.console import SilentConsole
from edgekd.data.open import open_dataset
from edgekd.students.build import load_student

FAST = [
    *("--embedding-dim", "8", "--identities-per-batch", "4", "--images-per-identity", "3"),
    *("--set", "student_options.width=8", "--input-size", "16", "--lr", "0.05"),
    *("--threads", "1", "--precision", "fp32"),
]
SPLIT = ["--val-fraction", "0.3"]
QUICK = ["--set", "num_calls=2", "--set", "num_warmup=0", "--set", "min_seconds=0"]
FILES = ["student.int8.onnx", "student.int8.tflite", "student.onnx", "student.tflite"]


def typed(capsys, *arguments):
    """Type a command and return its JSON."""
    code = main_inner([str(argument) for argument in arguments] + ["--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out)


def test_cdd_from_a_folder_of_identities_to_both_runtimes(tmp_path, capsys):
    data = write_identities(tmp_path / "data", train=10, test=5, size=16)
    common = ["--task", "retrieval", "--data", data, *SPLIT, *FAST]
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    dense = typed(capsys, "teach", *common, "--model", "resnet8", "--epochs", 3, "-o", teacher)
    small = typed(
        *(capsys, "distill", *common, "--student", "resnet8", "--method", "cdd", "--epochs", 6),
        *("--teacher", teacher, "--weights", teacher / "weights.safetensors"),
        *("--target-macs", 0.5, "--set", "cdd.queue_size=24", "-o", student),
    )
    assert small["macs"] / dense["macs"] == pytest.approx(0.5, rel=0.02)
    assert small["teacher"]["source"] == str(teacher)
    gate = ["--set", "max_drop_points=100", "--set", "min_agreement=0", "--set", "min_sqnr_db=-100"]
    files = typed(
        *(capsys, "export", student, "--int8", "--search-seconds", 0, "--num-calibration", 16),
        *("--data", data, *SPLIT, *gate, "-o", tmp_path / "exported"),
    )
    assert sorted(row["file"] for row in files) == FILES
    rows = typed(capsys, "bench", tmp_path / "exported", "--data", data, *SPLIT, *QUICK)
    found = {row["file"]: row["metric"] for row in rows}
    assert sorted(found) == FILES
    for metric in found.values():
        assert (metric["name"], metric["split"], metric["num_samples"]) == ("mean_ap", "test", 30)
    expected = next(
        m["value"] for m in small["metrics"] if (m["name"], m["split"]) == ("mean_ap", "test")
    )
    for file in ("student.onnx", "student.tflite"):
        assert found[file]["value"] == pytest.approx(expected, abs=1e-6)
    # five identities with noise: chance is about 5/29
    assert all(metric["value"] > 0.3 for metric in found.values())


@pytest.fixture
def manifest(tmp_path):
    """Two cameras take turns at every identity."""
    data = write_identities(tmp_path / "data", train=10, test=5, size=16)
    path = data / "cars.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "identity", "camera", "split"])
        for image in sorted(data.glob("*/*/*.png")):
            split, identity, name = image.relative_to(data).parts
            camera = f"camera {int(image.stem) % 2}"
            rows.writerow([f"{split}/{identity}/{name}", identity, camera, split])
    return path


def mean_precision(embeddings, identities, cameras):
    """Mean average precision, query by query, where a query's own camera shows it nothing."""
    directions = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = []
    for query in range(len(directions)):
        same = identities == identities[query]
        allowed = ~(same & (cameras == cameras[query]))
        order = np.argsort(-(directions @ directions[query])[allowed])
        hits = same[allowed][order]
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        found.append(precision[hits].mean())
    return np.mean(found)


def test_cameras_of_a_manifest_count_from_training_to_the_files(manifest, tmp_path, capsys):
    data = ["--data", manifest, *SPLIT]
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    common = ["--task", "retrieval", *data, *FAST, "--epochs", 1]
    typed(capsys, "teach", *common, "--model", "resnet8", "-o", teacher)
    typed(
        *(capsys, "distill", *common, "--student", "resnet8", "--method", "kd"),
        *("--teacher", teacher, "-o", student),
    )
    recipe = BenchRecipe(data=str(manifest), val_fraction=0.3)
    test = open_dataset(recipe, SilentConsole(), task="retrieval").splits["test"]
    record, network = load_student(student)
    embeddings = answers(network, test, record.preprocess.image)
    expected = mean_precision(embeddings, test.labels, test.cameras)
    each = np.arange(len(test))  # as if every image were by a camera of its own
    assert abs(mean_precision(embeddings, test.labels, each) - expected) > 1e-3
    metric = next(m for m in read_bundle(student).metrics if m.split == "test")
    assert (metric.name, metric.value) == ("mean_ap", pytest.approx(expected, abs=1e-6))
    exported = tmp_path / "exported"
    typed(capsys, "export", student, "--format", "onnx", *data, "-o", exported)
    (row,) = typed(capsys, "bench", exported, *data, *QUICK)
    assert row["metric"]["value"] == pytest.approx(expected, abs=1e-6)
    assert row["metric"]["num_samples"] == len(test) == 30


def answers(network, samples, spec):
    """Embeddings of a split, without edgekd's own loop."""
    import torch

    pixels = torch.from_numpy(samples.load(None, spec)).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (spec.mean, spec.std))
    with torch.no_grad():
        return network((pixels - mean) / std).numpy()
