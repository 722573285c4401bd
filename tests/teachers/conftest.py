import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from edgekd.bundle import write_bundle
from edgekd.console import SilentConsole
from edgekd.records import (
    ArchSpec,
    DataRef,
    ImageInput,
    Metric,
    Preprocess,
    Provenance,
    StudentBundle,
)
from edgekd.students.build import build_student
from edgekd.teachers.open import open_teacher
from edgekd.teachers.protocol import Teacher
from edgekd.teachers.request import TeacherRequest

CLASSES = ("ant", "bee", "cat", "dog", "eel")
IMAGE = ImageInput(channels=3, height=16, width=16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))


class Notes(SilentConsole):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        self.lines.append(text)


class Bomb:
    """A pickle that creates a file when it is opened."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def image() -> ImageInput:
    return IMAGE


@pytest.fixture
def classes() -> tuple[str, ...]:
    return CLASSES


@pytest.fixture
def bomb(tmp_path: Path) -> Path:
    """What a run of the pickle in ``bomb_bytes`` would leave behind."""
    return tmp_path / "exploded"


@pytest.fixture
def bomb_bytes(bomb: Path) -> bytes:
    return pickle.dumps(Bomb(bomb))


@pytest.fixture
def asked(notes: Notes) -> Callable[..., TeacherRequest]:
    def request(source: object = "teacher", **changes: Any) -> TeacherRequest:
        fields: dict[str, Any] = {
            "source": str(source),
            "location": str(source),
            "options": {},
            "inputs": (IMAGE,),
            "class_names": CLASSES,
            "pretrained": False,
            "needs": frozenset({"logits"}),
            "console": notes,
        }
        return TeacherRequest(**(fields | changes))

    return request


@pytest.fixture
def opened(notes: Notes) -> Callable[..., Teacher]:
    def open_(source: object, **changes: Any) -> Teacher:
        arguments: dict[str, Any] = {
            "preprocess": Preprocess(inputs=(IMAGE,)),
            "class_names": CLASSES,
            "pretrained": False,
            "needs": frozenset({"logits"}),
            "console": notes,
        }
        return open_teacher(str(source), **(arguments | changes))

    return open_


@pytest.fixture
def view() -> torch.Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def normalised(view: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGE.mean, IMAGE.std))
    return (view - mean) / std


@pytest.fixture
def bundle(tmp_path: Path) -> tuple[Path, nn.Module]:
    """A bundle folder with random weights, and its network."""
    arguments = {"style": "cifar", "block": "basic", "blocks": [1, 1, 1], "width": 4}
    arch = ArchSpec(family="resnet", arguments=arguments, num_classes=5, in_channels=3)
    torch.manual_seed(0)
    module = build_student(arch).eval()
    weights = safetensors.torch.save(module.state_dict())
    provenance = Provenance(
        data=DataRef(source="data.zip", fingerprint="f", num_samples={"train": 1}),
        teacher=None,
        recipe={},
        seed=0,
        versions={},
        commit=None,
        machine="test",
        num_threads=1,
        precision="fp32",
        train_seconds=1.0,
        created="2026-01-01T00:00:00Z",
    )
    record = StudentBundle(
        arch=arch,
        preprocess=Preprocess(inputs=(IMAGE,)),
        labels=CLASSES,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        num_params=123,
        macs=456,
        metrics=(Metric(name="top1", value=0.5, split="val", num_samples=2),),
        provenance=provenance,
    )
    write_bundle(tmp_path / "bundle", record, weights)
    return tmp_path / "bundle", module


def small_network(num_classes: int = 5, *, softmax: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    layers += [nn.Flatten(), nn.Linear(4, num_classes)]
    if softmax:
        layers.append(nn.Softmax(dim=1))
    return nn.Sequential(*layers).eval()


@pytest.fixture
def network() -> Callable[..., nn.Sequential]:
    return small_network


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Path]:
    """Save a module as ``net.pt2``; ``batch=None`` leaves the batch dynamic."""

    def save(module: nn.Module, batch: int | None = None) -> Path:
        dynamic = ({0: torch.export.Dim("batch", min=1, max=1024)},) if batch is None else None
        example = (torch.zeros(batch or 2, 3, 16, 16),)
        path = tmp_path / "net.pt2"
        torch.export.save(torch.export.export(module, example, dynamic_shapes=dynamic), path)
        return path

    return save


@pytest.fixture
def rewritten(tmp_path: Path) -> Callable[..., Path]:
    """Copy a zip with members replaced, added, or (``None``) removed; JSON may be edited."""

    def rewrite(path: Path, changes: dict[str, Any]) -> Path:
        target = tmp_path / f"rewritten{path.suffix}"
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as result:
            top = source.namelist()[0].partition("/")[0] + "/" if path.suffix == ".pt2" else ""
            members = {n.removeprefix(top): source.read(n) for n in source.namelist()}
            for name, change in changes.items():
                if callable(change):
                    edited = json.loads(members[name])
                    change(edited)
                    members[name] = json.dumps(edited).encode()
                elif change is None:
                    del members[name]
                else:
                    members[name] = change
            for name, content in members.items():
                result.writestr(top + name, content)
        return target

    return rewrite
