"""What the table of three sensors compares: rows, subjects, and the command of each training."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import ROOT
from benchmarks.training import Training

RECIPE = ROOT / "models" / "lsskd-sensor-daily-sports" / "recipe.toml"
ALONE = {f"{name} alone, labels": name for name in ("acc", "gyro", "mag")}
FUSED = {"late fusion, labels": "none", "late fusion, lsskd": "lsskd"}
EXPORTED = "late fusion, lsskd"


@dataclass(frozen=True)
class Plan:
    """What the command line said."""

    data: Path
    runs: Path
    results: Path
    subjects: tuple[int, ...]
    common: dict[str, object]
    """Recipe keys that say how, not what."""
    changes: dict[str, object]
    """Recipe keys that differ from the file, for all rows alike."""

    def folder(self, row: str, subject: int) -> Path:
        """Where one run lies."""
        return self.runs / f"{row.replace(', ', '-').replace(' ', '-')}-subject{subject}"

    def training(self, row: str, subject: int) -> Training:
        """The command of one row; validation is the subject before."""
        split = {"group": "subject", "test_groups": [subject], "val_groups": [before(subject)]}
        what: dict[str, object] = {"method": FUSED.get(row, "none")}
        if row in ALONE:
            what["modalities"] = [ALONE[row]]
        settings = {"data": self.data} | split | self.common | self.changes | what
        return Training(RECIPE, settings, self.folder(row, subject))


def before(subject: int) -> int:
    """Who validates."""
    return subject - 1 or 8
