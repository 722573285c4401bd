"""The Markdown table of what is finished."""

import statistics
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.cdd.experiments import DENSE, OURS, TEACHER, Plan
from benchmarks.commands import (
    bundle,
    conditions,
    is_finished,
    minutes,
    of_test,
    summary,
    test_metric,
)

COLUMNS = (
    "network",
    "continues from",
    "seeds",
    "{metric} %",
    "below the teacher, points",
    f"below {DENSE}, points",
    f"{OURS} ahead, points",
    "MACs left %",
    "parameters left %",
    "training minutes",
)


@dataclass(frozen=True)
class Line:
    """One line: a network, and its finished runs."""

    name: str
    start: str
    records: Sequence[dict]
    metric: str

    @property
    def values(self) -> list[float]:
        """What the runs reached on ``test``."""
        return [test_metric(record, self.metric) for record in self.records]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.mean(self.values)

    def below(self, other: "Line | None") -> str:
        """How far it stays behind the mean of another line, with the spread of its own seeds."""
        return "" if other is None else summary([other.mean - value for value in self.values])


def main_table(plan: Plan) -> str:
    """One line per row with at least one finished seed; metric, what is left, time."""
    if not is_finished(plan.teacher.folder):
        return ""
    lines = {line.name: line for line in _lines(plan)}
    columns = [column.format(metric=plan.experiment.metric) for column in COLUMNS]
    table = [_caption(plan, lines[TEACHER]), "", _row(columns), "|---" * len(columns) + "|"]
    table += [_row(_cells(line, lines, plan.experiment.rows)) for line in lines.values()]
    return "\n".join(table) + "\n"


def _lines(plan: Plan) -> Iterator[Line]:
    experiment = plan.experiment
    for name in (TEACHER, experiment.narrow_start):
        folder = plan.start(name).folder
        if is_finished(folder):
            yield Line(name, "random weights", [bundle(folder)], experiment.metric)
    for row in experiment.rows:
        folders = [plan.folder(row, seed) for seed in experiment.seeds]
        records = [bundle(folder) for folder in folders if is_finished(folder)]
        if records:
            yield Line(row, experiment.start(row), records, experiment.metric)


def _cells(line: Line, lines: dict[str, Line], students: Collection[str]) -> tuple[str, ...]:
    teacher, ours = lines[TEACHER], lines.get(OURS)
    is_rival = line.name in students and line.name not in (OURS, DENSE)
    ahead = f"{100 * (ours.mean - line.mean):.2f}" if is_rival and ours is not None else ""
    return (
        line.name,
        line.start,
        str(len(line.records)),
        summary(line.values),
        line.below(teacher),
        line.below(lines.get(DENSE)),
        ahead,
        _left("macs", line, teacher),
        _left("num_params", line, teacher),
        f"{minutes(line.records):.1f}",
    )


def _caption(plan: Plan, teacher: Line) -> str:
    record = teacher.records[0]
    test = of_test(record, teacher.metric)["num_samples"]
    trial = (
        "A TRIAL on very little data, nothing but a proof that it runs. " if plan.is_quick else ""
    )
    return (
        f"{trial}{plan.experiment.name}: test split ({test:,} samples), last epoch, mean ± "
        f"standard deviation over seeds, {conditions(record)}. Every student trains for as many "
        f"epochs, from the trained network named. {plan.experiment.features}"
    )


def _left(key: str, line: Line, teacher: Line) -> str:
    left = statistics.mean(record[key] for record in line.records)
    return f"{100 * left / teacher.records[0][key]:.1f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
