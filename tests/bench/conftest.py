"""Exported files and a bundle of them, made by hand, with records beside them."""

from types import SimpleNamespace

import numpy as np
import pytest
from recording_console import RecordingConsole
from tiny_models import NUM_CLASSES, write_onnx, write_tflite

from edgekd.bundle import sha256_of, to_json
from edgekd.records import (
    ExportedModel,
    ImageInput,
    OperatorAudit,
    Parity,
    Preprocess,
    TensorSpec,
)

LABELS = ("a", "b", "c")
PREPROCESS = Preprocess(
    inputs=(ImageInput(channels=3, height=2, width=2, mean=(0.5,) * 3, std=(0.25,) * 3),)
)


def describe(path, precision="fp32", *, labels=LABELS, **changes):
    """Write the record beside an exported file, as export does."""
    onnx = path.suffix == ".onnx"
    image = TensorSpec(
        name="image",
        shape=("batch", 3, 2, 2) if onnx else (1, 2, 2, 3),
        dtype="float32",
        layout="NCHW" if onnx else "NHWC",
    )
    fields = {
        "file": path.name,
        "format": path.suffix[1:],
        "precision": precision,
        "sha256": sha256_of(path),
        "size_bytes": path.stat().st_size,
        "num_params": 39,
        "macs": 36,
        "inputs": (image,),
        "outputs": (TensorSpec(name="logits", shape=(1, 3), dtype="float32", layout="NK"),),
        "input_encoding": "float32",
        "int8_macs_share": 0.0,
        "audit": OperatorAudit(
            int8_macs_share=0.0, int8_operators={}, float_operators={}, num_transposes=0
        ),
        "parity": Parity(
            num_samples=1,
            batch_sizes=(1,),
            split=None,
            max_abs_err=0.0,
            tolerance=1e-3,
            sqnr_db=None,
            top1_agreement=1.0,
            metric_drop=None,
        ),
        "preprocess": PREPROCESS,
        "labels": labels,
        "source_sha256": "5" * 64,
        "metrics": (),
        "versions": {},
        "provenance": None,
        **changes,
    }
    path.with_name(path.name + ".json").write_bytes(to_json(ExportedModel(**fields)))
    return path


@pytest.fixture
def console():
    return RecordingConsole()


@pytest.fixture
def exported(tmp_path):
    """A folder with an fp32 file of each format and their records."""
    folder = tmp_path / "exported"
    folder.mkdir()
    describe(write_onnx(folder / "student.onnx"))
    describe(write_tflite(folder / "student.tflite"))
    return folder


@pytest.fixture
def bare():
    """Functions that make single files, for tests that need others than :func:`exported`."""
    return SimpleNamespace(describe=describe, write_onnx=write_onnx, write_tflite=write_tflite)


@pytest.fixture
def pixels(tmp_path):
    """An ``.npz`` of 2 x 2 images with three classes, and its arrays."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (60, 2, 2, 3), dtype=np.uint8)
    y = np.array(LABELS)[np.arange(60) % NUM_CLASSES]
    np.savez(tmp_path / "data.npz", x=x, y=y)
    return tmp_path / "data.npz"
