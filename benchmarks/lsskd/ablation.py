"""What the ablation compares: rows, tables, and the command of each training."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import ROOT
from benchmarks.training import Training

RECIPE = ROOT / "models" / "lsskd-resnet20-cifar10" / "recipe.toml"
WHOLE = "+ features"
OFF: dict[str, object] = {"soft_labels.weight": 0, "lsskd.kl_weight": 0, "lsskd.feature_weight": 0}


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    method: str
    changes: dict[str, object]
    """Recipe keys that differ."""
    taught: bool = False


ROWS = (
    Row("labels only", "none", {}),
    Row("label smoothing 0.1", "none", {"label_smoothing": 0.1}),
    Row("PS-KD", "ps-kd", {}),
    Row("branches and transformations", "lsskd", OFF),
    Row("+ softening", "lsskd", {"lsskd.kl_weight": 0, "lsskd.feature_weight": 0}),
    Row("+ KL", "lsskd", {"lsskd.feature_weight": 0}),
    Row(WHOLE, "lsskd", {}),
    Row("+ external teacher", "lsskd", {}, taught=True),
)
REDUCED = {
    "input_size": 24,
    "student_options.stem_stride": 2,
    "lsskd.kl_ramp_epochs": 2,
    "epochs": 5,
}
"""What makes the comparison affordable on two cores. Five epochs of a quarter of the labels would
be 440 steps: with few labels epochs grow until a row takes as many steps as with all of them."""
_GROWING = ("epochs", "lsskd.kl_ramp_epochs")


@dataclass(frozen=True)
class Kind:
    """One table."""

    name: str
    fraction: float = 1.0
    """Share of the labels."""


EQUAL_EPOCHS = Kind("equal-epochs")
EQUAL_TIME = Kind("equal-time")


@dataclass(frozen=True)
class Run:
    """One training, and the table it belongs to."""

    kind: Kind
    row: Row
    seed: int
    epochs: int | None = None
    """Of the plan if left out."""

    @property
    def key(self) -> dict[str, object]:
        """What tells it from other rows among the results."""
        return {"table": self.kind.name, "row": self.row.name, "seed": self.seed}


@dataclass(frozen=True)
class Plan:
    """What the command line said."""

    data: Path | None
    """``None`` where nothing is trained."""
    teacher: str | None
    """A bundle folder, in which ``{fraction}`` and ``{seed}`` stand for those of a student."""
    runs: Path
    results: Path
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]
    jobs: int
    common: dict[str, object]
    """Recipe keys that say how, not what."""
    changes: dict[str, object]
    """Recipe keys that differ from the file, for all rows alike, with all labels."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """All tables; the whole of the labels is in the first."""
        few = (Kind(f"labels-{fraction:g}", fraction) for fraction in self.fractions)
        return (EQUAL_EPOCHS, EQUAL_TIME, *few)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Of every table: without what needs a teacher that is not there."""
        return tuple(row for row in ROWS if self.teacher is not None or not row.taught)

    def changes_of(self, kind: Kind) -> dict[str, object]:
        """Recipe keys of one table that differ from the file, for all its rows alike."""
        grown = {
            name: round(value / kind.fraction)
            for name in _GROWING
            if isinstance(value := self.changes.get(name), int)
        }
        return self.changes | grown

    def folder(self, kind: Kind, row: Row, seed: int) -> Path:
        """Where one run lies."""
        name = row.name.replace("+ ", "plus-").replace(" ", "-")
        return self.runs / kind.name / f"{name}-seed{seed}"

    def teacher_of(self, kind: Kind, seed: int) -> Path:
        """Whom a taught student of this table and seed learns from."""
        named = (self.teacher or "").replace("{fraction}", f"{kind.fraction:g}")
        return Path(named.replace("{seed}", str(seed)))

    def training(self, run: Run) -> Training:
        """The command of one run."""
        row = run.row
        changes = {
            name: value
            for name, value in (self.changes_of(run.kind) | row.changes).items()
            if row.method == "lsskd" or not name.startswith("lsskd.")  # what is not read is refused
        }
        if row.taught:
            changes["teacher"] = self.teacher_of(run.kind, run.seed)
        if run.kind.fraction < 1:
            changes["label_fraction"] = run.kind.fraction
        if run.epochs is not None:
            changes["epochs"] = run.epochs
        what = {"data": self.data, "method": row.method, "seed": run.seed}
        return Training(RECIPE, what | self.common | changes, self.folder(run.kind, row, run.seed))
