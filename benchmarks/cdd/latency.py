"""How much of what fewer MACs promise arrives: dense and CDD networks, exported and timed.

Latencies and metrics are those of ``edgekd bench``. Its files run one after another, and a
machine's pace changes meanwhile; what counts, the speed-up, is therefore the ratio of two files
that are called in turns in one process.
"""

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks.cdd.experiments import OURS, TEACHER, Plan
from benchmarks.commands import bundle, edgekd, is_finished
from edgekd.devices.race import race, ratio

ROUNDS = 3  # dense and pruned in turns, so that a machine that warms up favours neither
RACE_SECONDS = 10.0  # for each file
FILES = ("student.onnx", "student.int8.onnx", "student.tflite", "student.int8.tflite")

Row = dict[str, Any]


def latency_table(plan: Plan, results: Path) -> str:
    """Export what is not exported yet, time everything anew, and compare per kind of file.

    Args:
        plan: Whose teacher and finished CDD students.
        results: Raw rows are appended here.

    Returns:
        Markdown; empty, and nothing is timed, where no CDD student is finished.
    """
    folders = [plan.folder(OURS, seed) for seed in plan.seeds]
    students = [folder.name for folder in folders if is_finished(folder)]
    if not students:
        return ""
    names = [TEACHER, *students]
    for name in names:
        _export(plan, name)
    rounds = 1 if plan.is_quick else ROUNDS
    rows = [row for number in range(rounds) for name in names for row in _bench(plan, name, number)]
    races = [_race(plan, name, file) for file in sorted(FILES) for name in students]
    with results.open("a") as file:
        for row in rows + races:
            file.write(json.dumps({"experiment": plan.experiment.name, **row}) + "\n")
    return _table(plan, rows, races, students)


def _export(plan: Plan, name: str) -> None:
    source, output = plan.runs / name, plan.runs / f"exported-{name}"
    if not _is_exported(source, output):
        edgekd(
            *("export", source, "--int8", "-o", output, *_data(plan)),
            # The test reads the files' own accuracy; a gate here would hide it.
            *(
                "--set",
                "max_drop_points=100",
                "--set",
                "min_agreement=0",
                "--set",
                "min_sqnr_db=-100",
            ),
        )


def _is_exported(source: Path, output: Path) -> bool:
    """Whether every file is there and was made from the weights that the bundle has now."""
    records = [output / f"{file}.json" for file in FILES]
    weights = bundle(source)["weights_sha256"]
    return all(
        record.is_file() and json.loads(record.read_text())["source_sha256"] == weights
        for record in records
    )


def _bench(plan: Plan, name: str, number: int) -> list[Row]:
    data = _data(plan) if number == 0 else ()  # the metric once
    command = ("bench", plan.runs / f"exported-{name}", "--threads", 1, *data)
    return [row | {"run": name, "round": number} for row in edgekd(*command)]


def _race(plan: Plan, name: str, file: str) -> Row:
    """How many times as fast a student's file is as the dense network's."""
    files = [plan.runs / f"exported-{run}" / file for run in (TEACHER, name)]
    seconds = 0.0 if plan.is_quick else RACE_SECONDS
    dense, pruned = race(files, num_threads=1, seconds=seconds)
    if dense is None or pruned is None:
        raise SystemExit(f"{' or '.join(map(str, files))}: does not run")
    speedup, error = ratio(dense, pruned)
    return {"race": file, "run": name, "speedup": speedup, "error": error}


def _data(plan: Plan) -> tuple[object, ...]:
    """Options that open the data as the training did."""
    recipe = bundle(plan.teacher.folder)["provenance"]["recipe"]
    folders = [
        part
        for key in ("train_folder", "test_folder")
        if recipe[key] is not None
        for part in (f"--{key.replace('_', '-')}", recipe[key])
    ]
    return ("--data", plan.data, *folders)


def _table(plan: Plan, rows: list[Row], races: list[Row], students: list[str]) -> str:
    macs = {name: bundle(plan.runs / name)["macs"] for name in (TEACHER, *students)}
    rounds = 1 + max(row["round"] for row in rows)
    promised = statistics.mean(macs[TEACHER] / macs[name] for name in students)
    lines = [
        f"Batch 1, 1 thread, median of the medians of {rounds} round(s); speed-ups (with their "
        "standard error) of files called in turns. The MACs promise "
        f"{promised:.2f} times the speed. {len(students)} CDD student(s).",
        "",
        "| file | dense ms | CDD ms | speed-up | share of the promise % | dense "
        f"{plan.experiment.metric} % | CDD {plan.experiment.metric} % |",
        "|---|---|---|---|---|---|---|",
    ]
    for file in sorted({row["file"] for row in rows}):
        group = [row for row in rows if row["file"] == file]
        dense = _median_ms(group, TEACHER)
        pruned = statistics.mean(_median_ms(group, name) for name in students)
        won = [row for row in races if row["race"] == file]
        speedup, error = (statistics.mean(row[key] for row in won) for key in ("speedup", "error"))
        metrics = [_metric(group, names) for names in ([TEACHER], students)]
        lines.append(
            f"| {file} | {dense:.3f} | {pruned:.3f} | {speedup:.2f} ± {error:.2f} | "
            f"{100 * speedup / promised:.0f} | {metrics[0]} | {metrics[1]} |"
        )
    return "\n".join(lines) + "\n"


def _median_ms(rows: list[Row], name: str) -> float:
    return statistics.median(row["p50_ms"] for row in rows if row["run"] == name)


def _metric(rows: list[Row], names: list[str]) -> str:
    taken = [r["metric"]["value"] for r in rows if r["run"] in names and r["metric"] is not None]
    return f"{100 * statistics.mean(taken):.2f}" if taken else ""
