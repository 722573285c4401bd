"""What is compared: the rows of each table, and the command that trains one of them."""

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
MODELS = HERE.parent.parent / "models"
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
    def rows(self) -> dict[str, tuple[str, ...]]:
        """Row -> what its ``edgekd distill`` command says besides data, teacher and seed."""
        width = ("--set", f"student_options.width={self.narrow}", "--method")
        return {
            "CDD": ("--method", "cdd"),
            "CDD, magnitude mask": ("--method", "cdd", "--set", "cdd.mask=magnitude"),
            f"narrow {self.narrow}, labels": (*width, "none"),
            f"narrow {self.narrow}, kd": (*width, "kd"),
            PEER: (),
            "CDD, shrinking while training": ("--method", "cdd", "--shrink-while-training"),
        }


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            name="retrieval",
            teacher=MODELS / "cdd-resnet101w16-omniglot/teacher.toml",
            student=MODELS / "cdd-resnet101w16-omniglot/recipe.toml",
            narrow=10,
            metric="mean_ap",
            seeds=(0, 1),
            precision="fp32",
            train_samples=17_360,
            quick=(
                "epochs=1",
                "input_size=32",
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

    @property
    def is_finished(self) -> bool:
        """Whether its bundle is there; it is written last."""
        return (self.folder / "bundle.json").is_file()


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
    is_quick: bool = False

    @property
    def teacher(self) -> Training:
        """The dense network that teaches all others, and that CDD starts from."""
        folder = self.runs / "teacher"
        command = ("teach", "--recipe", self.experiment.teacher, "-o", folder)
        return Training("teacher", 0, folder, self._edgekd(*command))

    def trainings(self) -> Iterator[Training]:
        """All students, every row of the first seed before any of the next."""
        for seed in self.experiment.seeds:
            for row, what in self.experiment.rows.items():
                if not self.only or row in self.only:
                    yield self._student(row, seed, what)

    def folder(self, row: str, seed: int) -> Path:
        """Where one run lies."""
        return self.runs / f"{row.replace(', ', '-').replace(' ', '-').lower()}-seed{seed}"

    def _student(self, row: str, seed: int, what: tuple[str, ...]) -> Training:
        folder, teacher = self.folder(row, seed), self.runs / "teacher"
        if row == PEER:
            command = self._peer(folder, seed)
        else:
            taught = () if row.endswith("labels") else ("--teacher", teacher)
            start = (
                () if row.startswith("narrow") else ("--weights", teacher / "weights.safetensors")
            )
            recipe = ("--recipe", self.experiment.student, "--seed", seed, "-o", folder)
            command = self._edgekd("distill", *recipe, *what, *taught, *start)
        return Training(row, seed, folder, command)

    def _edgekd(self, *arguments: object) -> tuple[str, ...]:
        return self._command("-m", "edgekd", *arguments, "--resume", "--quiet")

    def _peer(self, folder: Path, seed: int) -> tuple[str, ...]:
        teacher = self.runs / "teacher"
        arguments = (
            *("--recipe", self.experiment.student, "--teacher", teacher),
            *("--weights", teacher / "weights.safetensors", "--share", self.experiment.share),
            *("--seed", seed, "-o", folder),
        )
        return self._command("-m", "benchmarks.cdd.peer_torch_pruning", *arguments)

    def _command(self, *arguments: object) -> tuple[str, ...]:
        settings = [f"precision={self.precision}"]
        settings += self.experiment.quick if self.is_quick else ()
        sets = [part for setting in settings for part in ("--set", setting)]
        common = ("--data", self.data, "--threads", self.threads, *sets)
        return tuple(map(str, (sys.executable, *arguments, *common)))
