"""Three sensors, one subject left out: each alone, fused, fused with branches, one missing, int8.

    python -m benchmarks.lsskd.daily_sports --data daily-sports.npz

For every test subject (validation is the one before it) the rows are: each modality alone and late
fusion, both from labels; late fusion by ``lsskd``; and for the last two, every modality missing at
test time, fed as its mean. The ``lsskd`` student is exported to both formats in fp32 and int8, and
every file is measured on one thread. Last epoch's weights; ``test`` is read by the finished run.

Every command resumes or is quick, so the driver can be killed and started again. Rows are appended
to ``results-daily-sports.jsonl`` as they finish, the table is written beside it. Subjects train
side by side with ``--jobs``; the files come afterwards, one after another, because latency needs a
quiet machine (``--phase train`` stops before them). ``--quick`` runs everything for an epoch and
writes into the folder of the runs.
"""

import argparse
import json
import os
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
from edgekd.config import DataRecipe
from edgekd.console import SilentConsole
from edgekd.data.cache import InputSource
from edgekd.data.open import open_dataset
from edgekd.data.preprocess import absent_samples
from edgekd.evaluate.classification import predict
from edgekd.students.build import load_student

HERE = Path(__file__).parent
RECIPE = ROOT / "models" / "lsskd-sensor-daily-sports" / "recipe.toml"
MODALITIES = ("acc", "gyro", "mag")
FUSED = {"late fusion, labels": "none", "late fusion, lsskd": "lsskd"}
EXPORTED = "late fusion, lsskd"


@dataclass(frozen=True)
class Plan:
    """What the command line said."""

    data: Path
    runs: Path
    results: Path
    subjects: tuple[int, ...]
    common: tuple[object, ...]

    def folder(self, row: str, subject: int) -> Path:
        """Where one run lies."""
        return self.runs / f"{row.replace(', ', '-').replace(' ', '-')}-subject{subject}"


def groups(subject: int) -> tuple[object, ...]:
    """Who is left out: this subject for test, the one before for validation."""
    before = subject - 1 or 8
    return ("--group", "subject", "--test-groups", subject, "--val-groups", before)


def train(plan: Plan, row: str, subject: int, *what: object) -> None:
    """One run to its end; a finished one returns at once."""
    folder = plan.folder(row, subject)
    data = ("--recipe", RECIPE, "--data", plan.data, *groups(subject))
    if not is_finished(folder):
        edgekd("distill", *data, *plan.common, *what, "--resume", "-o", folder)
    append(plan.results, {"row": row, "subject": subject}, bundle(folder))


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


def leave_modalities_out(plan: Plan, row: str, subject: int) -> None:
    """Test top-1 of a fused student with one sensor missing."""
    record, module = load_student(plan.folder(row, subject))
    specs = record.preprocess.inputs
    recipe = record.provenance.recipe
    kept = {name: recipe[name] for name in DataRecipe.model_fields if recipe.get(name) is not None}
    test = open_dataset(DataRecipe(**kept), SilentConsole()).splits["test"]
    source = InputSource(test, specs)
    for place, spec in enumerate(specs):
        logits = predict(module, Missing(source, specs, place), specs)
        value = float(np.mean(logits.argmax(axis=1) == test.labels))
        key = {"row": f"{row}, without {spec.name}", "subject": subject}
        append(plan.results, key, {"test_top1": value, "num_samples": len(test)})


def export_and_bench(plan: Plan, subject: int) -> None:
    """Files of both formats and precisions, their metric and their latency."""
    files = plan.folder("files", subject)
    data = ("--data", plan.data, *groups(subject))
    if not (files / "student.int8.tflite").exists():
        edgekd("export", plan.folder(EXPORTED, subject), "--int8", *data, "-o", files)
    for row in edgekd("bench", files, *data, "--threads", 1):
        append(plan.results, {"row": f"file {row['file']}", "subject": subject}, row)


def train_subject(plan: Plan, subject: int) -> None:
    """Every network of one subject left out."""
    for name in MODALITIES:
        train(plan, f"{name} alone, labels", subject, "--method", "none", "--modalities", name)
    for row, method in FUSED.items():
        train(plan, row, subject, "--method", method)
        leave_modalities_out(plan, row, subject)


def value_of(row: dict) -> float:
    """Test top-1 of a row, whatever it came from."""
    if "test_top1" in row:
        return row["test_top1"]
    return test_top1(row) if "metrics" in row else row["metric"]["value"]


def table(plan: Plan) -> str:
    """The Markdown table."""
    rows = [json.loads(line) for line in plan.results.read_text().splitlines()]
    rows = [row for row in rows if row["subject"] in plan.subjects]
    fused = [row for row in rows if row["row"] == EXPORTED]
    lines = [
        f"Test top-1 on {len(plan.subjects)} subjects left out one at a time (mean ± standard "
        f"deviation over subjects), last epoch; {conditions(fused[0])}; the fused student has "
        f"{fused[0]['num_params']:,} parameters and {fused[0]['macs']:,} MACs.",
        "",
        "| | top-1 % | training minutes | latency p50 ms, 1 thread |",
        "|---|---|---|---|",
    ]
    for name in dict.fromkeys(row["row"] for row in rows):
        group = [row for row in rows if row["row"] == name]
        trained = [row for row in group if "provenance" in row]
        took = f"{minutes(trained):.1f}" if trained else ""
        medians = [row["p50_ms"] for row in group if "p50_ms" in row]
        latency = f"{statistics.median(medians):.3f}" if medians else ""
        lines.append(f"| {name} | {summary([value_of(r) for r in group])} | {took} | {latency} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/lsskd-daily-sports"))
    parser.add_argument("--subjects", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--epochs", type=int, help="of the recipe if left out")
    parser.add_argument("--jobs", type=int, default=1, help="subjects side by side")
    parser.add_argument("--phase", choices=("all", "train"), default="all")
    parser.add_argument("--quick", action="store_true", help="a smoke run without figures")
    given = parser.parse_args()
    threads = max(1, (os.cpu_count() or 1) // given.jobs)
    common: list[object] = ["--threads", threads, "--precision", "fp32"]
    if given.epochs is not None:
        common += ["--epochs", given.epochs]
    if given.quick:
        common += ["--epochs", 1, "--label-fraction", 0.1]
        given.subjects = [8]
    out = given.runs if given.quick else HERE
    out.mkdir(parents=True, exist_ok=True)
    plan = Plan(
        data=given.data,
        runs=given.runs,
        results=out / "results-daily-sports.jsonl",
        subjects=tuple(given.subjects),
        common=tuple(common),
    )
    with ThreadPoolExecutor(given.jobs) as pool:
        for started in [pool.submit(train_subject, plan, subject) for subject in plan.subjects]:
            started.result()
    if given.phase == "train":
        return
    for subject in plan.subjects:
        export_and_bench(plan, subject)
    text = table(plan)
    (out / "table-daily-sports.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
