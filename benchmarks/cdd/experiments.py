"""What is compared: the rows of each table, and the command that trains one of them.

Every student continues from a trained network: those of the teacher's architecture from the
teacher's weights, narrow ones from a narrow network that the teacher's recipe trained before.
"""

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import ROOT

HERE = Path(__file__).parent
MODELS = ROOT / "models"
TEACHER = "teacher"
OURS = "CDD"
DENSE = "dense, kd"
PEER = "torch-pruning"


@dataclass(frozen=True)
class Experiment:
    """One table."""

    name: str
    teacher: Path
    """Recipe of ``edgekd teach``."""
    student: Path
    """Recipe of ``edgekd distill --method cdd``; the other rows change what they must."""
    narrow: int
    """Width of the uniformly narrow student: the smallest with no less than the target's MACs."""
    features: str
    """Who learns from more than labels and logits; stands above the table."""
    metric: str
    seeds: tuple[int, ...]
    precision: str
    """The quicker one on a CPU with AVX-512; the same for every training, see :class:`Plan`."""
    train_samples: int
    """Behind the cut of the validation split; only for estimates."""
    quick: tuple[str, ...]
    """What ``--quick`` sets in every recipe, so that each run takes seconds."""
    quick_data: str | None = None
    """What ``--quick`` takes instead of the data."""

    @property
    def share(self) -> float:
        """Of the dense student's MACs, that every row is to end at."""
        return float(tomllib.loads(self.student.read_text())["cdd"]["target_macs"])

    @property
    def width(self) -> tuple[str, ...]:
        """What makes a network of either recipe narrow."""
        return ("--set", f"student_options.width={self.narrow}")

    @property
    def narrow_start(self) -> str:
        """The narrow network that the narrow students continue from."""
        return f"narrow {self.narrow}, taught"

    @property
    def rows(self) -> dict[str, tuple[str, ...]]:
        """Row -> what its ``edgekd distill`` command says besides data, start, teacher and seed."""
        return {
            OURS: ("--method", "cdd"),
            DENSE: ("--method", "kd"),
            "CDD, magnitude mask": ("--method", "cdd", "--set", "cdd.mask=magnitude"),
            f"narrow {self.narrow}, labels": (*self.width, "--method", "none"),
            f"narrow {self.narrow}, kd": (*self.width, "--method", "kd"),
            PEER: (),
            "CDD, shrinking while training": ("--method", "cdd", "--shrink-while-training"),
        }

    def start(self, row: str) -> str:
        """Name of the trained network that a row continues from."""
        return self.narrow_start if row.startswith("narrow") else TEACHER


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="retrieval",
            teacher=MODELS / "cdd-resnet38w24-omniglot/teacher.toml",
            student=MODELS / "cdd-resnet38w24-omniglot/recipe.toml",
            narrow=14,
            features=(
                "CDD learns from pooled features of every block, kd from those of every stage "
                "whose width is the teacher's: the dense student from all of them, narrow "
                "students and torch-pruning's from none."
            ),
            metric="mean_ap",
            seeds=(0, 1),
            precision="bf16",
            train_samples=17_360,
            quick=(
                "epochs=1",
                "lr=0.005",  # a handful of steps
                "train_folder=images_background/Greek",
                "test_folder=images_evaluation/Atlantean",
            ),
        ),
        Experiment(
            name="classification",
            teacher=MODELS / "cdd-resnet20w32-cifar10/teacher.toml",
            student=MODELS / "cdd-resnet20w32-cifar10/recipe.toml",
            narrow=19,
            features=(
                "CDD learns from pooled features of every block, kd from labels and logits alone."
            ),
            metric="top1",
            seeds=(0, 1, 2),
            precision="bf16",
            train_samples=45_000,
            quick=("epochs=1",),
            quick_data="builtin:digits",
        ),
    )
}


@dataclass(frozen=True)
class Training:
    """One command that resumes, and the folder it fills."""

    row: str
    seed: int
    folder: Path
    command: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """An experiment, and where and how it runs."""

    experiment: Experiment
    data: str
    runs: Path
    threads: int
    precision: str
    """Of every training alike: measured for each, as usual, it might differ from row to row."""
    only: tuple[str, ...] = ()
    """Rows to train; all of them if empty."""
    only_seeds: tuple[int, ...] = ()
    """Seeds to train and to time; all of them if empty."""
    is_quick: bool = False

    @property
    def rows(self) -> dict[str, tuple[str, ...]]:
        """Of the experiment's rows those that are to be trained."""
        rows = self.experiment.rows
        return {row: what for row, what in rows.items() if not self.only or row in self.only}

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the experiment's seeds those that are to be trained and timed."""
        return self.only_seeds or self.experiment.seeds

    @property
    def teacher(self) -> Training:
        """The dense network that teaches all others."""
        return self.start(TEACHER)

    @property
    def starts(self) -> tuple[Training, ...]:
        """What the rows continue from: trained once, shared by all seeds; the teacher first."""
        names = dict.fromkeys([TEACHER, *map(self.experiment.start, self.rows)])
        return tuple(map(self.start, names))

    def start(self, name: str) -> Training:
        """A network trained from labels by the teacher's recipe, at its width or narrow."""
        width = () if name == TEACHER else self.experiment.width
        folder = self.runs / _slug(name)
        command = ("teach", "--recipe", self.experiment.teacher, *width, "-o", folder)
        return Training(name, 0, folder, self._edgekd(*command))

    def trainings(self) -> Iterator[Training]:
        """All students, every row of the first seed before any of the next."""
        for seed in self.seeds:
            for row, what in self.rows.items():
                yield self._student(row, seed, what)

    def folder(self, row: str, seed: int) -> Path:
        """Where one run lies."""
        return self.runs / f"{_slug(row)}-seed{seed}"

    def _student(self, row: str, seed: int, what: tuple[str, ...]) -> Training:
        folder = self.folder(row, seed)
        weights = self.start(self.experiment.start(row)).folder / "weights.safetensors"
        common = ("--recipe", self.experiment.student, "--weights", weights)
        taught = ("--teacher", self.teacher.folder)
        end = ("--seed", seed, "-o", folder)
        if row == PEER:
            command = self._peer(*common, *taught, "--share", self.experiment.share, *end)
        elif row.endswith("labels"):
            command = self._edgekd("distill", *common, *what, *end)
        else:
            command = self._edgekd("distill", *common, *what, *taught, *end)
        return Training(row, seed, folder, command)

    def _edgekd(self, *arguments: object) -> tuple[str, ...]:
        return self._command("-m", "edgekd", *arguments, "--resume", "--quiet")

    def _peer(self, *arguments: object) -> tuple[str, ...]:
        return self._command("-m", "benchmarks.cdd.peer_torch_pruning", *arguments)

    def _command(self, *arguments: object) -> tuple[str, ...]:
        settings = [f"precision={self.precision}"]
        settings += self.experiment.quick if self.is_quick else ()
        sets = [part for setting in settings for part in ("--set", setting)]
        common = ("--data", self.data, "--threads", self.threads, *sets)
        return tuple(map(str, (sys.executable, *arguments, *common)))


def _slug(name: str) -> str:
    return name.replace(", ", "-").replace(" ", "-").lower()
