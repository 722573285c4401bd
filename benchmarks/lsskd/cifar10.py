"""Which part of layered self-distillation gains what: an ablation on CIFAR-10, and few labels.

    python -m benchmarks.lsskd.cifar10 --data cifar10-jpeg.zip --teacher runs/teacher

Rows, each adding to the one before: labels only; label smoothing; PS-KD; branches and the
transformation task; softening; deep-to-shallow KL; features (which is all of it); an external
teacher, where one is given. Three seeds, the last epoch's weights, ``test`` read once by the
finished run. Three tables: equal epochs; equal training time (every row trains for as long as the
whole method took, at its own pace); and shares of the labels at equal epochs. What takes within a
fifth of the whole method's time is not trained again for the second. Without ``--data`` the tables
are made anew of all that is among the results, whoever taught it, and nothing is trained.

The recipe's own sixty epochs at 32 x 32 positions would take weeks of a CPU. ``REDUCED`` makes
images, network and epochs smaller for all rows alike, and with few labels keeps the number of
steps; ``--full`` leaves the recipe as it is.

A teacher that was trained on all labels knows more than the rows with a share of them, and the
table says so. ``--teacher 'runs/teacher-{fraction}-{seed}'`` names one for each share and seed
(``runs/teacher-0.25-0``, ``runs/teacher-1-0``): labels are drawn with the seed.

Every training is one ``edgekd`` command that resumes, so the driver can be killed and started
again; a finished run of another recipe is refused. Rows are appended to ``results-cifar10.jsonl``
as they finish, and a run that is there needs no folder: what another machine trained is not trained
again. Beside it each table is written as soon as its rows are there. ``--full`` has files
and folders of its own. So has ``--quick``, which runs everything for an epoch on few labels; its
results stay with its runs.
"""

import argparse
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from benchmarks.commands import append, bundle, is_finished, rows_of
from benchmarks.lsskd.ablation import (
    EQUAL_EPOCHS,
    EQUAL_TIME,
    REDUCED,
    ROWS,
    WHOLE,
    Kind,
    Plan,
    Row,
    Run,
)
from benchmarks.lsskd.tables import (
    all_tables,
    epochs_in_equal_time,
    epochs_of,
    relative_pace,
    teachers_file,
)
from benchmarks.parallel import side_by_side

HERE = Path(__file__).parent


def train(plan: Plan, run: Run) -> None:
    """One run to its end; a finished one is only noted."""
    training = plan.training(run)
    if not is_finished(training.folder) and known(plan, run) is not None:
        return
    record = training.run()
    append(plan.results, run.key | {"weights_sha256": record["weights_sha256"]}, record)
    if run.row.taught:
        teacher = bundle(plan.teacher_of(run.kind, run.seed))
        append(teachers_file(plan.results), {"weights_sha256": teacher["weights_sha256"]}, teacher)


def known(plan: Plan, run: Run) -> dict | None:
    """The record of a finished run: from its folder or, where that is gone, from the results."""
    training = plan.training(run)
    if is_finished(training.folder):
        return bundle(training.folder)
    rows = [
        row
        for row in rows_of(plan.results)
        if run.key.items() <= row.items() and not training.differences(row)
    ]
    return rows[-1] if rows else None


def train_all(plan: Plan, runs: Iterable[Run]) -> None:
    """Side by side, as many as the plan says; nothing starts where a finished run is another."""
    runs = list(runs)
    for run in runs:
        plan.training(run).check()
    side_by_side(plan.jobs, [partial(train, plan, run) for run in runs])


def group(plan: Plan, kind: Kind, row: Row) -> list[dict]:
    """The finished runs of a row."""
    runs = [Run(kind, row, seed) for seed in plan.seeds]
    return [record for run in runs if (record := known(plan, run)) is not None]


def equal_time(plan: Plan) -> list[Run]:
    """As many epochs as the whole method's time has room for, at paces of one processor."""
    whole = next(row for row in ROWS if row.name == WHOLE)
    counted = [kind for kind in plan.kinds if kind != EQUAL_TIME]
    runs = []
    for row in plan.rows:
        pace = relative_pace((group(plan, k, row), group(plan, k, whole)) for k in counted)
        if pace is None:
            raise SystemExit(
                f"{row.name!r} and {WHOLE!r} were trained on different processors in every table, "
                "so that their times do not compare; train one of them on the other's"
            )
        before = epochs_of(group(plan, EQUAL_EPOCHS, row)[0])
        epochs = epochs_in_equal_time(before, pace)
        if epochs != before:
            runs += [Run(EQUAL_TIME, row, seed, epochs) for seed in plan.seeds]
    return runs


def equal_epochs(plan: Plan, kind: Kind) -> list[Run]:
    """A table of all labels, or of a share of them, seed by seed."""
    return [Run(kind, row, seed) for seed in plan.seeds for row in plan.rows]


def parse() -> tuple[Plan, Path]:
    """What to do, and the file of the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="if left out, tables are made of the results")
    parser.add_argument(
        "--teacher", help="bundle folder for one row; {fraction} and {seed} are the student's"
    )
    parser.add_argument("--runs", type=Path, help="runs/lsskd-cifar10 and the setting if left out")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.25, 0.5])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16", help="of all rows")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--full", action="store_true", help="the recipe as it is")
    parser.add_argument("--quick", action="store_true", help="a smoke run without figures")
    given = parser.parse_args()
    name = "cifar10" + "-full" * given.full + "-quick" * given.quick
    changes: dict[str, object] = {} if given.full else dict(REDUCED)
    if given.quick:
        changes |= {"epochs": 1, "student_options.width": 4, "label_fraction": 0.01}
        given.seeds, given.fractions = [0], [0.02]
    threads = max(1, (os.cpu_count() or 1) // given.jobs)
    runs = given.runs or Path(f"runs/lsskd-{name}")
    out = runs if given.quick else HERE  # a trial leaves no trace among the results
    plan = Plan(
        data=given.data,
        teacher=given.teacher,
        runs=runs,
        results=out / f"results-{name}.jsonl",
        seeds=tuple(given.seeds),
        fractions=tuple(given.fractions),
        jobs=given.jobs,
        common={"num_threads": threads, "precision": given.precision},
        changes=changes,
    )
    if given.teacher is not None:
        teachers = {plan.teacher_of(kind, seed) for kind in plan.kinds for seed in plan.seeds}
        absent = sorted(str(folder) for folder in teachers if not is_finished(folder))
        if absent:
            parser.error(f"no finished teacher in {', '.join(absent)}")
    return plan, out / f"table-{name}.md"


def main() -> None:
    """Parse, train, write."""
    plan, file = parse()
    if plan.data is not None:
        train_tables(plan, file)
    file.write_text(all_tables(plan))
    print(file.read_text())


def train_tables(plan: Plan, file: Path) -> None:
    """Table after table; each is written as soon as its rows are there."""
    counted = [kind for kind in plan.kinds if kind != EQUAL_TIME]
    for kind in counted:  # before hours are spent on the first table
        for run in equal_epochs(plan, kind):
            plan.training(run).check()
    for kind in (*counted, EQUAL_TIME):
        is_timed = kind == EQUAL_TIME  # at the pace of the others
        train_all(plan, equal_time(plan) if is_timed else equal_epochs(plan, kind))
        file.write_text(all_tables(plan))


if __name__ == "__main__":
    main()
