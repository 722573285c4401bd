"""Three sensors, one subject left out: each alone, fused, fused with branches, one missing, int8.

    python -m benchmarks.lsskd.daily_sports --data daily-sports.npz

For every test subject (validation is the one before it) the rows are: each modality alone and late
fusion, both from labels; late fusion by ``lsskd``; and for the last two, every modality missing at
test time, fed as its mean. The ``lsskd`` student is exported to both formats in fp32 and int8, and
every file is measured on one thread, the int8 files also with every modality missing. Last epoch's
weights; ``test`` is read by the finished run.

Every command resumes or is quick, so the driver can be killed and started again; a finished run of
another recipe is refused. What is measured of a network is kept beside its folder, and measured
again when the network is another. The table is made from these folders; rows are also appended to
``results-daily-sports.jsonl`` as they finish. Subjects train side by side with ``--jobs``; the
files come afterwards, one after another, because latency needs a quiet machine (``--phase train``
stops before them). ``--quick`` runs everything for an epoch in folders of its own and leaves its
results there.
"""

import argparse
import json
import os
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.commands import (
    append,
    bundle,
    conditions,
    edgekd,
    minutes,
    summary,
    test_top1,
)
from benchmarks.lsskd.sensor_plan import ALONE, EXPORTED, FUSED, Plan, before
from benchmarks.parallel import side_by_side
from benchmarks.training import described
from edgekd.config import DataRecipe
from edgekd.console import SilentConsole
from edgekd.data.cache import InputSource
from edgekd.data.open import open_dataset
from edgekd.data.preprocess import absent_samples
from edgekd.evaluate.classification import predict
from edgekd.students.build import load_student

HERE = Path(__file__).parent


def note(plan: Plan, rows: list[dict]) -> list[dict]:
    """Append rows to the results, once for each network."""
    for row in rows:
        key = {name: row[name] for name in ("row", "subject", "weights_sha256")}
        append(plan.results, key, row)
    return rows


def trained(plan: Plan, row: str, subject: int) -> list[dict]:
    """One run to its end; a finished one returns at once."""
    record = plan.training(row, subject).run()
    return note(plan, [{"row": row, "subject": subject, **record}])


def kept(plan: Plan, file: Path, network: Path, measure: Callable[[], list[dict]]) -> list[dict]:
    """What a file holds of a network, measured now if it holds nothing, or that of another."""
    weights = bundle(network)["weights_sha256"]
    rows = json.loads(file.read_text()) if file.is_file() else []
    if not rows or rows[0]["weights_sha256"] != weights:
        rows = [{"weights_sha256": weights, **row} for row in measure()]
        file.write_text(json.dumps(rows))
    return note(plan, rows)


class Missing:
    """A split in which one sensor is not there."""

    def __init__(self, source: InputSource, specs: tuple, missing: int) -> None:
        self.source, self.specs, self.missing = source, specs, missing

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, indices: np.ndarray) -> tuple:
        parts = list(self.source[indices])
        parts[self.missing] = absent_samples(self.specs[self.missing], len(indices))
        return tuple(parts)


def without_one(plan: Plan, row: str, subject: int) -> list[dict]:
    """Test top-1 of a fused student with each sensor missing."""
    folder = plan.folder(row, subject)

    def measure() -> list[dict]:
        record, module = load_student(folder)
        specs = record.preprocess.inputs
        recipe = record.provenance.recipe
        known = {n: recipe[n] for n in DataRecipe.model_fields if recipe.get(n) is not None}
        test = open_dataset(DataRecipe(**known), SilentConsole()).splits["test"]
        source, rows = InputSource(test, specs), []
        for place, spec in enumerate(specs):
            logits = predict(module, Missing(source, specs, place), specs)
            value = float(np.mean(logits.argmax(axis=1) == test.labels))
            name = f"{row}, without {spec.name}"
            figures = {"test_top1": value, "num_samples": len(test)}
            rows.append({"row": name, "subject": subject, **figures})
        return rows

    return kept(plan, folder.with_name(f"{folder.name}-missing.json"), folder, measure)


def exported(plan: Plan, subject: int) -> tuple[Path, tuple[object, ...]]:
    """The folder of a network's files, made now if need be, and the flags that name the data."""
    network = plan.folder(EXPORTED, subject)
    folder = plan.runs / f"files-subject{subject}-{bundle(network)['weights_sha256'][:8]}"
    split = ("--test-groups", subject, "--val-groups", before(subject))
    data = ("--data", plan.data, "--group", "subject", *split)
    if not (folder / "student.int8.tflite").exists():
        edgekd("export", network, "--int8", *data, "-o", folder)
    return folder, data


def files(plan: Plan, subject: int) -> list[dict]:
    """Files of both formats and precisions, their metric and their latency."""

    def measure() -> list[dict]:
        folder, data = exported(plan, subject)
        rows = edgekd("bench", folder, *data, "--threads", 1)
        return [{"row": f"file {row['file']}", "subject": subject, **row} for row in rows]

    network = plan.folder(EXPORTED, subject)
    return kept(plan, plan.runs / f"files-subject{subject}.json", network, measure)


def files_without_one(plan: Plan, subject: int) -> list[dict]:
    """The metric of the int8 files with each sensor missing; their latency is the same."""

    def measure() -> list[dict]:
        folder, data = exported(plan, subject)
        int8 = [folder / f"student.int8.{suffix}" for suffix in ("onnx", "tflite")]
        quick = ("--calls", 1, "--min-seconds", 0, "--set", "energy_seconds=0")
        return [
            {
                "row": f"file {row['file']}, without {name}",
                "subject": subject,
                "metric": row["metric"],
            }
            for name in ALONE.values()
            for row in edgekd("bench", *int8, *data, *quick, "--missing", name)
        ]

    network = plan.folder(EXPORTED, subject)
    return kept(plan, plan.runs / f"files-subject{subject}-missing.json", network, measure)


def networks(plan: Plan, subject: int) -> list[dict]:
    """Every row of one subject left out that needs no file."""
    rows = [row for name in ALONE for row in trained(plan, name, subject)]
    for name in FUSED:
        rows += trained(plan, name, subject)
        rows += without_one(plan, name, subject)
    return rows


def value_of(row: dict) -> float:
    """Test top-1 of a row, whatever it came from."""
    if "test_top1" in row:
        return row["test_top1"]
    return test_top1(row) if "metrics" in row else row["metric"]["value"]


def table(plan: Plan, rows: list[dict]) -> str:
    """The Markdown table of the rows of all subjects."""
    fused = next(row for row in rows if row["row"] == EXPORTED)
    recipe = f"the recipe with {described(plan.changes)}" if plan.changes else "the recipe as it is"
    lines = [
        f"Test top-1 on {len(plan.subjects)} subjects left out one at a time (mean ± standard "
        f"deviation over subjects), {recipe}, last epoch; {conditions(fused)}; the fused student "
        f"has {fused['num_params']:,} parameters and {fused['macs']:,} MACs.",
        "",
        "| | top-1 % | training minutes | latency p50 ms, 1 thread |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["row"] for row in rows):
        group = [row for row in rows if row["row"] == name]
        of_networks = [row for row in group if "provenance" in row]
        took = f"{minutes(of_networks):.1f}" if of_networks else ""
        medians = [row["p50_ms"] for row in group if "p50_ms" in row]
        latency = f"{statistics.median(medians):.3f}" if medians else ""
        lines.append(f"| {name} | {summary([value_of(r) for r in group])} | {took} | {latency} |")
    return "\n".join(lines) + "\n"


def parse() -> tuple[Plan, argparse.Namespace]:
    """What to do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, help="runs/lsskd-daily-sports if left out")
    parser.add_argument("--subjects", type=int, nargs="+", default=list(range(1, 9)))
    parser.add_argument("--epochs", type=int, help="of the recipe if left out")
    parser.add_argument("--jobs", type=int, default=1, help="subjects side by side")
    parser.add_argument("--phase", choices=("all", "train"), default="all")
    parser.add_argument("--quick", action="store_true", help="a smoke run without figures")
    given = parser.parse_args()
    threads = max(1, (os.cpu_count() or 1) // given.jobs)
    changes: dict[str, object] = {} if given.epochs is None else {"epochs": given.epochs}
    if given.quick:
        changes |= {"epochs": 1, "label_fraction": 0.1}
        given.subjects = [8]
    runs = given.runs or Path("runs/lsskd-daily-sports" + "-quick" * given.quick)
    out = runs if given.quick else HERE  # a trial leaves no trace among the results
    plan = Plan(
        data=given.data,
        runs=runs,
        results=out / "results-daily-sports.jsonl",
        subjects=tuple(given.subjects),
        common={"num_threads": threads, "precision": "fp32"},
        changes=changes,
    )
    return plan, given


def main() -> None:
    """Train, export, measure, write."""
    plan, given = parse()
    for subject in plan.subjects:
        for row in (*ALONE, *FUSED):
            plan.training(row, subject).check()
    found = side_by_side(
        given.jobs, [partial(networks, plan, subject) for subject in plan.subjects]
    )
    if given.phase == "train":
        return
    for measure in (files, files_without_one):
        found += [measure(plan, subject) for subject in plan.subjects]
    text = table(plan, [row for rows in found for row in rows])
    (plan.results.parent / "table-daily-sports.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
