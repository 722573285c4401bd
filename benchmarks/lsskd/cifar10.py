"""Which part of layered self-distillation gains what: an ablation on CIFAR-10, and few labels.

    python -m benchmarks.lsskd.cifar10 --data cifar10-jpeg.zip --teacher runs/teacher

Rows, each adding to the one before: labels only; label smoothing; PS-KD; branches and the
transformation task; softening; deep-to-shallow KL; features (which is all of it); an external
teacher, where one is given. Three seeds, the last epoch's weights, ``test`` read once by the
finished run. Three tables: equal epochs; equal training time (every row trains for as long as the
whole method took, at its own pace); and shares of the labels at equal epochs.

Every training is one ``edgekd`` command that resumes, so the driver can be killed and started
again. Rows are appended to ``results-cifar10.jsonl`` as they finish; tables are written beside it.
``--quick`` runs everything for an epoch on few labels and writes into the folder of the runs.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import (
    ROOT,
    append,
    bundle,
    conditions,
    edgekd,
    minutes,
    summary,
    test_top1,
)

HERE = Path(__file__).parent

RECIPE = ROOT / "models" / "lsskd-resnet20-cifar10" / "recipe.toml"
WHOLE = "+ features"
OFF = {"soft_labels.weight": 0, "lsskd.kl_weight": 0, "lsskd.feature_weight": 0}


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
FEW = ("labels only", "PS-KD", "branches and transformations", WHOLE)
"""Rows of the table of label shares."""


@dataclass(frozen=True)
class Plan:
    """What the command line said."""

    data: Path
    teacher: Path | None
    runs: Path
    results: Path
    seeds: tuple[int, ...]
    fractions: tuple[float, ...]
    branch: str | None
    common: tuple[object, ...]

    def rows(self) -> tuple[Row, ...]:
        """Without the taught one where there is no teacher."""
        return tuple(row for row in ROWS if self.teacher is not None or not row.taught)

    def folder(self, kind: str, row: Row, seed: int) -> Path:
        """Where one run lies."""
        name = row.name.replace("+ ", "plus-").replace(" ", "-")
        return self.runs / kind / f"{name}-seed{seed}"


def train(plan: Plan, kind: str, row: Row, seed: int, *extra: object) -> dict:
    """One run to its end; a finished one returns at once."""
    folder = plan.folder(kind, row, seed)
    changes = [part for k, v in row.changes.items() for part in ("--set", f"{k}={v}")]
    teacher = ("--teacher", plan.teacher) if row.taught else ()
    branch = ("--branch", plan.branch) if plan.branch and row.method == "lsskd" else ()
    what = ("--recipe", RECIPE, "--method", row.method, "--data", plan.data, "--seed", seed)
    edgekd(
        "distill",
        *what,
        *plan.common,
        *changes,
        *teacher,
        *branch,
        *extra,
        "--resume",
        "-o",
        folder,
    )
    record = bundle(folder)
    append(plan.results, {"table": kind, "row": row.name, "seed": seed}, record)
    return record


def group(plan: Plan, kind: str, row: Row) -> list[dict]:
    """The finished runs of a row."""
    return [bundle(plan.folder(kind, row, seed)) for seed in plan.seeds]


def equal_epochs(plan: Plan) -> None:
    """The first table."""
    for seed in plan.seeds:
        for row in plan.rows():
            train(plan, "equal-epochs", row, seed)


def equal_time(plan: Plan) -> None:
    """As many epochs as the whole method's time has room for, at the pace of the first table."""
    whole = next(row for row in ROWS if row.name == WHOLE)
    budget = minutes(group(plan, "equal-epochs", whole))
    for row in plan.rows():
        records = group(plan, "equal-epochs", row)
        pace = minutes(records) / records[0]["provenance"]["recipe"]["epochs"]
        epochs = max(1, round(budget / pace))
        for seed in plan.seeds:
            train(plan, "equal-time", row, seed, "--epochs", epochs)


def few_labels(plan: Plan) -> None:
    """Shares of the labels; the whole of them is in the first table."""
    for fraction in plan.fractions:
        for seed in plan.seeds:
            for row in ROWS:
                if row.name in FEW:
                    kind = f"labels-{fraction:g}"
                    train(plan, kind, row, seed, "--label-fraction", fraction)


def table(plan: Plan, kind: str, rows: tuple[Row, ...]) -> str:
    """One Markdown table."""
    first = group(plan, kind, rows[0])[0]
    lines = [
        f"{kind}: test top-1, {len(plan.seeds)} seeds (mean ± standard deviation), "
        f"{first['provenance']['data']['num_samples']['train']:,} training samples, "
        f"{conditions(first)}.",
        "",
        "| | top-1 % | against labels only, points | epochs | training minutes |",
        "|---|---|---|---|---|",
    ]
    base = [test_top1(record) for record in group(plan, kind, rows[0])]
    for row in rows:
        records = group(plan, kind, row)
        values = [test_top1(record) for record in records]
        gains = [value - low for value, low in zip(values, base, strict=True)]
        epochs = records[0]["provenance"]["recipe"]["epochs"]
        cells = (row.name, summary(values), summary(gains), epochs, f"{minutes(records):.1f}")
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
    parser.add_argument("--epochs", type=int, help="of the recipe if left out")
    parser.add_argument("--branch", choices=("copy", "light"), help="of the recipe if left out")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quick", action="store_true", help="a smoke run without figures")
    given = parser.parse_args()
    common: list[object] = []
    for flag in ("epochs", "threads"):
        if getattr(given, flag) is not None:
            common += [f"--{flag}", getattr(given, flag)]
    if given.quick:
        common = ["--epochs", 1, "--threads", 1, "--set", "student_options.width=4"]
        common += ["--precision", "fp32", "--label-fraction", 0.01]
        given.seeds, given.fractions, given.branch = [0], [0.02], "light"
    out = given.runs if given.quick else HERE
    plan = Plan(
        data=given.data,
        teacher=given.teacher,
        runs=given.runs,
        results=out / "results-cifar10.jsonl",
        seeds=tuple(given.seeds),
        fractions=tuple(given.fractions),
        branch=given.branch,
        common=tuple(common),
    )
    equal_epochs(plan)
    equal_time(plan)
    few_labels(plan)
    few = tuple(row for row in ROWS if row.name in FEW)
    texts = [table(plan, kind, plan.rows()) for kind in ("equal-epochs", "equal-time")]
    texts += [table(plan, f"labels-{fraction:g}", few) for fraction in plan.fractions]
    (out / "table-cifar10.md").write_text("\n".join(texts))
    print("\n".join(texts))


if __name__ == "__main__":
    main()
