"""What the loop is given, and where it stands."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from lightning_fabric import Fabric
from torch import nn

from edgekd.config import SettledRecipe
from edgekd.console import Console
from edgekd.distill.batches import Batches
from edgekd.distill.checkpoint import Checkpoint
from edgekd.distill.methods.protocol import Method
from edgekd.records import ImageInput, Metric
from edgekd.teachers.protocol import Teacher


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained, on what, and by whom; nothing in it changes while it runs."""

    recipe: SettledRecipe
    fabric: Fabric
    method: Method
    teacher: Teacher | None
    batches: Batches
    spec: ImageInput
    validate: Callable[[nn.Module], Metric]
    folder: Path
    facts: dict[str, Any]
    """JSON that identifies the run (recipe, data); a resumed run must agree with it."""
    console: Console


@dataclass(kw_only=True)
class Progress:
    """Where a run stands; saved with every checkpoint."""

    epoch: int = 0
    step: int = 0
    """Steps done within ``epoch``."""
    seconds: float = 0.0
    """Training time over all resumes, validation and checkpoints included."""
    epoch_seconds: float = 0.0
    """Training time of the present epoch, validation excluded."""
    sums: dict[str, float] = field(default_factory=dict)
    """Per loss term, the sum over the steps of the present epoch."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The history: one row per finished epoch."""

    def add_step(self, losses: dict[str, float], seconds: float) -> None:
        """Count one more step of the present epoch."""
        self.step += 1
        self.epoch_seconds += seconds
        self.seconds += seconds
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def means(self) -> dict[str, float]:
        """Mean of every loss term over the epoch so far."""
        return {name: total / max(1, self.step) for name, total in sorted(self.sums.items())}

    def close_epoch(self, row: dict[str, Any], seconds: float) -> None:
        """Keep the epoch's row and start the next epoch; ``seconds`` went into closing it."""
        self.rows.append(row)
        self.seconds += seconds
        self.epoch, self.step = self.epoch + 1, 0
        self.epoch_seconds, self.sums = 0.0, {}

    def facts(self) -> dict[str, Any]:
        """Itself as JSON values, for a checkpoint."""
        return {"progress": asdict(self)}

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Self:
        """What :meth:`facts` had saved."""
        return cls(**checkpoint.facts["progress"])
