"""Stages that answer at once, so that a test of the command line tests only the command line."""

import hashlib
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from edgekd.records import (
    ArchSpec,
    DataRef,
    ImageInput,
    Metric,
    Preprocess,
    Provenance,
    StudentBundle,
    TeacherRef,
)

WEIGHTS = b"stand-in for a safetensors file"


@pytest.fixture
def fake_stage(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``fake_stage("edgekd.bench.run", bench=..., rows=...)`` replaces what a command imports."""

    def replace(module: str, **functions: Callable[..., Any]) -> None:
        monkeypatch.setitem(sys.modules, module, SimpleNamespace(**functions))

    return replace


@pytest.fixture
def weights() -> bytes:
    """Bytes whose sha256 is in ``bundle``."""
    return WEIGHTS


@pytest.fixture
def bundle() -> StudentBundle:
    """A student of ten digits, as distill would return it."""
    return StudentBundle(
        arch=ArchSpec(family="resnet_cifar", arguments={"depth": 8}, num_classes=10, in_channels=1),
        preprocess=Preprocess(
            inputs=(ImageInput(channels=1, height=8, width=8, mean=(0.3,), std=(0.4,)),)
        ),
        labels=tuple("0123456789"),
        weights_sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        num_params=78_042,
        macs=1_234_567,
        metrics=(
            Metric(name="top1", value=0.96, split="val", num_samples=250),
            Metric(name="top1", value=0.9525, split="test", num_samples=260),
        ),
        provenance=Provenance(
            data=DataRef(
                source="builtin:digits", fingerprint="f" * 64, num_samples={"train": 1287}
            ),
            teacher=TeacherRef(source="runs/teacher", kind="bundle", sha256="a" * 64),
            recipe={"epochs": 3, "method": "kd"},
            seed=7,
            versions={"edgekd": "0.1.0", "torch": "2.14.1"},
            commit=None,
            machine="a processor, x86_64",
            num_threads=2,
            precision="bf16",
            train_seconds=12.5,
            created="2026-01-02T03:04:05+00:00",
        ),
    )
