"""Records built directly, with numbers chosen so that the expected table is worked by hand."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgekd.bundle import append_record, to_json
from edgekd.records import (
    ArchSpec,
    DataRef,
    DeviceInfo,
    ExportedModel,
    ImageInput,
    Measurement,
    Metric,
    OperatorAudit,
    Parity,
    Preprocess,
    Provenance,
    Record,
    StudentBundle,
    TeacherRef,
    TensorSpec,
)

TEACHER, STUDENT = "a" * 64, "b" * 64
PREPROCESS = Preprocess(
    inputs=(ImageInput(channels=1, height=8, width=8, mean=(0.3,), std=(0.4,)),)
)
LABELS = tuple("0123456789")


def top1(value: float, *, split: Any = "test", num_samples: int = 200) -> Metric:
    return Metric(name="top1", value=value, split=split, num_samples=num_samples)


def provenance(
    *, teacher: TeacherRef | None = None, recipe: dict[str, Any] | None = None, **changes: Any
) -> Provenance:
    data = changes.pop(
        "data",
        DataRef(
            source="builtin:digits",
            fingerprint="f" * 64,
            num_samples={"train": 1258, "val": 269, "test": 200},
        ),
    )
    fields: dict[str, Any] = {
        "data": data,
        "teacher": teacher,
        "recipe": recipe or {"student": "resnet8", "method": "none"},
        "seed": 7,
        "versions": {"edgekd": "0.1.0", "torch": "2.14.1"},
        "commit": "0123456789abcdef",
        "machine": "laptop",
        "num_threads": 2,
        "precision": "bf16",
        "train_seconds": 200.0,
        "created": "2026-11-01T10:00:00+00:00",
    }
    return Provenance(**(fields | changes))


def teacher_ref(sha256: str | None = TEACHER, **changes: Any) -> TeacherRef:
    fields: dict[str, Any] = {"source": "runs/teacher", "kind": "bundle", "sha256": sha256}
    return TeacherRef(**(fields | changes))


def bundle(
    sha256: str = STUDENT,
    *,
    value: float = 0.95,
    num_params: int = 78_000,
    macs: int = 12_500_000,
    origin: Provenance | None = None,
    **changes: Any,
) -> StudentBundle:
    fields: dict[str, Any] = {
        "arch": ArchSpec(family="resnet8", num_classes=10, in_channels=1),
        "preprocess": PREPROCESS,
        "labels": LABELS,
        "weights_sha256": sha256,
        "num_params": num_params,
        "macs": macs,
        "metrics": (top1(0.9, split="val", num_samples=269), top1(value)),
        "provenance": origin or provenance(),
    }
    return StudentBundle(**(fields | changes))


def exported(
    file: str,
    *,
    sha256: str,
    source: str = STUDENT,
    origin: Provenance | None = None,
    **changes: Any,
) -> ExportedModel:
    int8 = ".int8." in file
    fields: dict[str, Any] = {
        "file": file,
        "format": "onnx" if file.endswith(".onnx") else "tflite",
        "precision": "int8-static" if int8 else "fp32",
        "sha256": sha256,
        "size_bytes": 90_000 if int8 else 320_000,
        "num_params": 78_000,
        "macs": 12_500_000,
        "inputs": (
            TensorSpec(name="image", shape=("batch", 1, 8, 8), dtype="float32", layout="NCHW"),
        ),
        "outputs": (TensorSpec(name="logits", shape=("batch", 10), dtype="float32", layout="NC"),),
        "input_encoding": "float32",
        "int8_macs_share": 1.0 if int8 else 0.0,
        "audit": OperatorAudit(
            int8_macs_share=1.0 if int8 else 0.0,
            int8_operators={"Conv": 9} if int8 else {},
            float_operators={"Softmax": 1} if int8 else {"Conv": 9, "Relu": 7},
            num_transposes=1,
            largest_rank=4,
        ),
        "parity": Parity(
            num_samples=269,
            batch_sizes=(1, 3),
            split="val",
            max_abs_err=0.21 if int8 else 2.5e-6,
            tolerance=None if int8 else 1e-3,
            sqnr_db=31.4 if int8 else 120.0,
            top1_agreement=0.99 if int8 else 1.0,
            metric_drop=0.004 if int8 else 0.0,
        ),
        "preprocess": PREPROCESS,
        "labels": LABELS,
        "source_sha256": source,
        "metrics": (),
        "versions": {"onnx": "1.23.2"},
        "provenance": origin,
    }  # fmt: skip
    return ExportedModel(**(fields | changes))


def device(**changes: Any) -> DeviceInfo:
    fields: dict[str, Any] = {
        "name": "laptop",
        "board": None,
        "cpu": "Example CPU",
        "arch": "x86_64",
        "os": "Debian 12",
        "kernel": "6.1",
        "python": "3.11.2",
        "cpu_count": 2,
        "memory_bytes": 8_000_000_000,
        "governor": None,
        "frequency_mhz": 2500.0,
        "temperature_c": None,
        "throttled": None,
        "load_average": 0.3,
        "runtime_versions": {"onnxruntime": "1.31.1"},
    }
    return DeviceInfo(**(fields | changes))


def measurement(
    file: str, *, sha256: str, p50_ms: float, source: str | None = STUDENT, **changes: Any
) -> Measurement:
    """Latencies from 0.99 to 1.01 of the median, evenly: p90 is 1.008 of it, IQR 1 %."""
    p50_ns = p50_ms * 1e6
    int8 = ".int8." in file
    suffix = file.rpartition(".")[2]
    fields: dict[str, Any] = {
        "file": file,
        "model_sha256": sha256,
        "source_sha256": source,
        "format": suffix if suffix in ("onnx", "tflite") else "torch",
        "precision": "int8-static" if int8 else "fp32",
        "device": "local",
        "device_info": device(),
        "runtime": "onnxruntime",
        "num_threads": 1,
        "batch_size": 1,
        "num_warmup": 10,
        "latencies_ns": tuple(round(p50_ns * (0.99 + 0.0002 * i)) for i in range(101)),
        "encode_ns": 1000,
        "decode_ns": 1000,
        "load_ns": 20_000_000,
        "first_invoke_ns": 5_000_000,
        "baseline_rss_bytes": 40_000_000,
        "peak_rss_bytes": 12_000_000,
        "size_bytes": 90_000 if int8 else 320_000,
        "metric": None,
        "created": "2026-11-02T10:00:00+00:00",
    }
    return Measurement(**(fields | changes))


def write(folder: Path, name: str, record: Record) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(to_json(record))
    return path


def write_measurements(folder: Path, *records: Measurement) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "measurements.jsonl"
    for record in records:
        append_record(path, record)
    return path


def history(num_epochs: int, *, val: bool = True) -> str:
    """Loss 2, 1, 2/3, ...; val top-1 0.5, 0.75, 0.875, ...; lr falls from 0.1 to 0."""
    lines = [
        {
            "epoch": epoch,
            "train_loss": 2 / (epoch + 1),
            "lr": 0.1 * (1 - epoch / max(num_epochs - 1, 1)),
            "seconds": 10.0,
            "val_top1": 1 - 0.5 ** (epoch + 1) if val else None,
        }
        for epoch in range(num_epochs)
    ]
    return "".join(json.dumps(entry) + "\n" for entry in lines)


def write_runs(root: Path) -> Path:
    """A whole run: teacher, student, four files of the student, two of the teacher, measured."""
    taught = provenance(
        teacher=teacher_ref(num_params=270_000, macs=40_000_000),
        recipe={"student": "resnet8", "method": "kd", "kd": {"temperature": 4.0}},
    )
    teacher = bundle(
        TEACHER, value=0.97, num_params=270_000, macs=40_000_000,
        origin=provenance(recipe={"student": "resnet20", "method": "none"}),
    )  # fmt: skip
    write(root / "teacher", "bundle.json", teacher)
    write(root / "student", "bundle.json", bundle(origin=taught))
    (root / "teacher" / "history.jsonl").write_text(history(12))
    (root / "student" / "history.jsonl").write_text(history(8))
    measured = []
    files = (
        ("student.onnx", "1", 0.4, 0.95),
        ("student.int8.onnx", "2", 0.2, 0.945),
        ("student.tflite", "3", 0.5, 0.95),
        ("student.int8.tflite", "4", 0.1, 0.955),
    )
    for file, digit, p50_ms, value in files:
        record = exported(file, sha256=digit * 64, origin=taught)
        write(root / "exported", f"{file}.json", record)
        measured.append(
            measurement(file, sha256=digit * 64, p50_ms=p50_ms, metric=top1(value))
        )  # fmt: skip
    write_measurements(root / "exported", *measured)
    taught_file = exported(
        "student.onnx", sha256="5" * 64, source=TEACHER, num_params=270_000, macs=40_000_000,
        size_bytes=1_100_000,
    )  # fmt: skip
    write(root / "teacher-exported", "student.onnx.json", taught_file)
    write_measurements(
        root / "teacher-exported",
        measurement("student.onnx", sha256="5" * 64, p50_ms=1.6, source=TEACHER),
    )
    return root


@pytest.fixture
def make() -> SimpleNamespace:
    """The builders above, under one name."""
    builders = (
        top1, provenance, teacher_ref, bundle, exported, device, measurement,
        write, write_measurements, history, write_runs,
    )  # fmt: skip
    return SimpleNamespace(
        **{builder.__name__: builder for builder in builders}, TEACHER=TEACHER, STUDENT=STUDENT
    )
