"""Which students are trained, and what tells one row of their table from another."""

from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = ("edgekd", "torch", "onnxruntime", "ai-edge-litert", "litert-quantizer")


def versions() -> dict[str, str]:
    """Of what makes and runs the files: another one is another row."""
    installed = {name: distribution_version(name) for name in PACKAGES}
    return {name: version for name, version in installed.items() if version is not None}


def distribution_version(name: str) -> str | None:
    """``None`` where it is not installed: one package has two names."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Student:
    """One row of the table."""

    name: str
    arch: str
    """As ``--student`` takes it."""
    options: dict[str, object] = field(default_factory=dict)
    """Of the architecture; 64 pixels in patches of 16 would leave a ViT 16 tokens."""


STUDENTS: Final = (
    Student("mobilevit_xxs", "timm:mobilevit_xxs"),
    Student("mobilenetv3_small_100", "timm:mobilenetv3_small_100"),
    Student("vit_tiny, 6 blocks", "timm:vit_tiny_patch16_224", {"patch_size": 8, "depth": 6}),
    Student("resnet18", "timm:resnet18"),
)


@dataclass(frozen=True)
class Plan:
    """What the command line said."""

    data: Path
    runs: Path
    students: tuple[Student, ...]
    epochs: int
    label_fraction: float
    input_size: int
    seed: int
    recover: int
    threads: int
    note: str

    def folder(self, student: Student) -> Path:
        """Where a student is trained; another setting is another folder."""
        name = student.name.replace(", ", "-").replace(" ", "-").replace(":", "-")
        setting = f"e{self.epochs}-l{self.label_fraction:g}-s{self.input_size}-seed{self.seed}"
        return self.runs / f"{name}-{setting}"

    def key(self, student: Student, model_format: str) -> dict[str, Any]:
        """What tells a row of the results from others."""
        asked = ("epochs", "label_fraction", "input_size", "seed", "recover", "note")
        return {
            "student": student.name,
            "format": model_format,
            **{name: getattr(self, name) for name in asked},
            "versions": versions(),
        }
