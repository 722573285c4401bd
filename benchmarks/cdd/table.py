"""The Markdown table of what is finished."""

import json
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.cdd.experiments import Plan
from benchmarks.commands import test_metric

Bundle = dict[str, Any]


def main_table(plan: Plan) -> str:
    """One line per row with at least one finished seed; metric, what is left, time."""
    if not plan.teacher.is_finished:
        return ""
    experiment = plan.experiment
    teacher = bundle_of(plan, "teacher")
    best = score(teacher, experiment.metric)
    finished = {row: found for row in experiment.rows if (found := _finished(plan, row))}
    ours = [score(bundle, experiment.metric) for bundle in finished.get("CDD", ())]
    lines = [
        _caption(plan, teacher),
        "",
        f"| network | seeds | {experiment.metric} % | below the teacher, points | "
        "CDD ahead, points | MACs left % | parameters left % | training minutes |",
        "|---|---|---|---|---|---|---|---|",
        f"| teacher | 1 | {100 * best:.2f} | 0 | | 100 | 100 | {_minutes([teacher])} |",
    ]
    for row, bundles in finished.items():
        values = [score(bundle, experiment.metric) for bundle in bundles]
        ahead = statistics.mean(ours) - statistics.mean(values) if ours and row != "CDD" else None
        cells = (
            row,
            str(len(bundles)),
            spread(values),
            spread([best - value for value in values]),
            "" if ahead is None else f"{100 * ahead:.2f}",
            _left("macs", bundles, teacher),
            _left("num_params", bundles, teacher),
            _minutes(bundles),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def bundle_of(plan: Plan, folder: str) -> Bundle:
    """A finished run's record."""
    record: Bundle = json.loads((plan.runs / folder / "bundle.json").read_text())
    return record


def score(bundle: Bundle, metric: str) -> float:
    """The one test figure of a bundle."""
    return float(test_metric(bundle, metric)["value"])


def spread(values: Sequence[float]) -> str:
    """Mean and, of several, sample standard deviation of fractions, in per cent."""
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def _finished(plan: Plan, row: str) -> list[Bundle]:
    folders = [plan.folder(row, seed) for seed in plan.experiment.seeds]
    return [bundle_of(plan, f.name) for f in folders if (f / "bundle.json").is_file()]


def _caption(plan: Plan, teacher: Bundle) -> str:
    origin = teacher["provenance"]
    test = test_metric(teacher, plan.experiment.metric)["num_samples"]
    trial = (
        "A TRIAL on very little data, nothing but a proof that it runs. " if plan.is_quick else ""
    )
    return (
        f"{trial}{plan.experiment.name}: test split ({test:,} samples), last epoch, mean ± "
        f"standard deviation over seeds, {origin['num_threads']} training thread(s), "
        f"{origin['precision']}, {origin['machine']}."
    )


def _left(key: str, bundles: Sequence[Bundle], teacher: Bundle) -> str:
    return f"{100 * statistics.mean(b[key] for b in bundles) / teacher[key]:.1f}"


def _minutes(bundles: Sequence[Bundle]) -> str:
    return f"{statistics.mean(b['provenance']['train_seconds'] for b in bundles) / 60:.1f}"
