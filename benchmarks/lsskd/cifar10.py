"""Which part of layered self-distillation gains what: an ablation on CIFAR-10, and few labels.

    python -m benchmarks.lsskd.cifar10 --data cifar10-jpeg.zip --teacher runs/teacher

Rows, each adding to the one before: labels only; label smoothing; PS-KD; branches and the
transformation task; softening; deep-to-shallow KL; features (which is all of it); an external
teacher, where one is given. Three seeds, the last epoch's weights, ``test`` read once by the
finished run. Three tables: equal epochs; equal training time (every row trains for as long as the
whole method took, at its own pace); and shares of the labels at equal epochs.

The recipe's own sixty epochs at 32 x 32 positions and with whole copies as branches would take
weeks of a CPU. ``REDUCED`` makes network, branches and epochs smaller for all rows alike;
``--full`` leaves the recipe as it is.

Every training is one ``edgekd`` command that resumes, so the driver can be killed and started
again. Rows are appended to ``results-cifar10.jsonl`` as they finish; tables are written beside it.
``--quick`` runs everything for an epoch on few labels and writes into the folder of the runs.
"""

import argparse
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import (
    ROOT,
    append,
    bundle,
    conditions,
    edgekd,
    is_finished,
    minutes,
    summary,
    test_top1,
)

HERE = Path(__file__).parent

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
    "student_options.stem_stride": 2,
    "lsskd.branch": "light",
    "lsskd.kl_ramp_epochs": 3,
    "epochs": 8,
}
"""What makes the comparison affordable on two cores."""


@dataclass(frozen=True)
class Run:
    """One training, and the table it belongs to."""

    kind: str
    row: Row
    seed: int
    extra: tuple[object, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What the command line said."""

    data: Path
    teacher: Path | None
    runs: Path
    results: Path
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]
    jobs: int
    common: tuple[object, ...]
    changes: dict[str, object]
    """Recipe keys that differ from the file, for all rows alike."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Without the taught one where there is no teacher."""
        return tuple(row for row in ROWS if self.teacher is not None or not row.taught)

    def folder(self, kind: str, row: Row, seed: int) -> Path:
        """Where one run lies."""
        name = row.name.replace("+ ", "plus-").replace(" ", "-")
        return self.runs / kind / f"{name}-seed{seed}"


def train(plan: Plan, run: Run) -> None:
    """One run to its end; a finished one is only noted."""
    folder, row = plan.folder(run.kind, run.row, run.seed), run.row
    if not is_finished(folder):
        changes = [
            part
            for name, value in (plan.changes | row.changes).items()
            if row.method == "lsskd" or not name.startswith("lsskd.")  # what is not read is refused
            for part in ("--set", f"{name}={value}")
        ]
        teacher = ("--teacher", plan.teacher) if row.taught else ()
        what = ("--recipe", RECIPE, "--method", row.method, "--data", plan.data)
        how = (*plan.common, *changes, *teacher, *run.extra)
        edgekd("distill", *what, "--seed", run.seed, *how, "--resume", "-o", folder)
    append(
        plan.results,
        {"table": run.kind, "row": row.name, "seed": run.seed},
        bundle(folder),
    )


def train_all(plan: Plan, runs: Iterable[Run]) -> None:
    """Side by side, as many as the plan says."""
    with ThreadPoolExecutor(plan.jobs) as pool:
        for started in [pool.submit(train, plan, run) for run in runs]:
            started.result()


def group(plan: Plan, kind: str, row: Row) -> list[dict]:
    """The finished runs of a row; those of equal time with as many epochs are not run twice."""
    folders = [plan.folder(kind, row, seed) for seed in plan.seeds]
    if kind == "equal-time" and not all(map(is_finished, folders)):
        return group(plan, "equal-epochs", row)
    return [bundle(folder) for folder in folders]


def epochs_of(record: dict) -> int:
    """How long a run was."""
    return int(record["provenance"]["recipe"]["epochs"])


def equal_epochs(plan: Plan) -> list[Run]:
    """The first table, seed by seed."""
    return [Run("equal-epochs", row, seed) for seed in plan.seeds for row in plan.rows]


def equal_time(plan: Plan) -> list[Run]:
    """As many epochs as the whole method's time has room for, at the pace of the first table."""
    whole = next(row for row in ROWS if row.name == WHOLE)
    budget = minutes(group(plan, "equal-epochs", whole))
    runs = []
    for row in plan.rows:
        records = group(plan, "equal-epochs", row)
        before = epochs_of(records[0])
        epochs = max(1, round(budget * before / minutes(records)))
        if epochs != before:
            more = ("--epochs", epochs)
            runs += [Run("equal-time", row, seed, more) for seed in plan.seeds]
    return runs


def few_labels(plan: Plan) -> list[Run]:
    """Shares of the labels; the whole of them is in the first table."""
    return [
        Run(f"labels-{fraction:g}", row, seed, ("--label-fraction", fraction))
        for fraction in plan.fractions
        for seed in plan.seeds
        for row in plan.rows
    ]


def table(plan: Plan, kind: str) -> str:
    """One Markdown table."""
    first = group(plan, kind, plan.rows[0])[0]
    lines = [
        f"{kind}: test top-1, {len(plan.seeds)} seeds (mean ± standard deviation), "
        f"{first['provenance']['data']['num_samples']['train']:,} training samples, "
        f"{conditions(first)}.",
        "",
        "| | top-1 % | against labels only, points | epochs | training minutes |",
        "|---|---|---|---|---|",
    ]
    base = [test_top1(record) for record in group(plan, kind, plan.rows[0])]
    for row in plan.rows:
        records = group(plan, kind, row)
        values = [test_top1(record) for record in records]
        gains = [value - low for value, low in zip(values, base, strict=True)]
        took = f"{minutes(records):.1f}"
        cells = (row.name, summary(values), summary(gains), epochs_of(records[0]), took)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, help="bundle folder for the last row")
    parser.add_argument("--runs", type=Path, default=Path("runs/lsskd-cifar10"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.25, 0.5])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16", help="of all rows")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--full", action="store_true", help="the recipe as it is")
    parser.add_argument("--quick", action="store_true", help="a smoke run without figures")
    given = parser.parse_args()
    changes: dict[str, object] = {} if given.full else dict(REDUCED)
    if given.quick:
        changes |= {"epochs": 1, "student_options.width": 4, "label_fraction": 0.01}
        given.seeds, given.fractions = [0], [0.02]
    threads = max(1, (os.cpu_count() or 1) // given.jobs)
    out = given.runs if given.quick else HERE
    plan = Plan(
        data=given.data,
        teacher=given.teacher,
        runs=given.runs,
        results=out / "results-cifar10.jsonl",
        seeds=tuple(given.seeds),
        fractions=tuple(given.fractions),
        jobs=given.jobs,
        common=("--threads", threads, "--precision", given.precision),
        changes=changes,
    )
    train_all(plan, equal_epochs(plan))
    train_all(plan, equal_time(plan))
    train_all(plan, few_labels(plan))
    kinds = ("equal-epochs", "equal-time", *(f"labels-{share:g}" for share in plan.fractions))
    text = "\n".join(table(plan, kind) for kind in kinds)
    (out / "table-cifar10.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
