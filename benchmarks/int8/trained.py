"""What int8 costs networks that were really trained: CIFAR-10 at 64 pixels, four families.

    python -m benchmarks.int8.trained --data cifar10-jpeg.zip --jobs 2

Trains each student from labels. Then, format by format, it is exported with ``--int8`` by the
commands a user would type: with calibration alone, with adjustments of the float network too, and
with a recovery, until the export finds an int8 file within half a point of fp32 on the validation
split. That file is benched on the test split, which decides nothing. All rows have the same epochs,
the same share of the labels and the same optimizer: the networks are far from their best, and what
is looked for is the difference between a file in fp32 and the same in int8. Everything resumes, so
the driver can be killed and started again. Students train ``--jobs`` at a time with an equal share
of the cores; export and bench measure times and run alone.

Writes ``results-trained.jsonl`` (appended) and ``table-trained.md`` beside itself.
"""

import argparse
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.commands import append, bundle, edgekd, is_finished
from benchmarks.int8.trained_plan import STUDENTS, Plan, Student, versions
from benchmarks.int8.trained_table import BUDGET, table
from benchmarks.parallel import side_by_side

HERE = Path(__file__).parent
RESULTS = HERE / "results-trained.jsonl"
REFUSED: Final = 6  # exit code of an export whose files do not answer like their source
FORMATS: Final = ("onnx", "tflite")
STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    "calibration": ("--no-adjustments",),
    "adjustments": (),
    "recovery": (),  # and --recover
}
TRAINING: Final = ("--method", "none", "--optimizer", "adamw", "--weight-decay", 0.05)


def train(plan: Plan, student: Student) -> None:
    """One student to its last epoch."""
    folder = plan.folder(student)
    if is_finished(folder):
        return
    options = [
        part for k, v in student.options.items() for part in ("--set", f"student_options.{k}={v}")
    ]
    edgekd(
        "distill",
        *TRAINING,
        *("--student", student.arch, *options, "--data", plan.data, "--seed", plan.seed),
        *("--epochs", plan.epochs, "--label-fraction", plan.label_fraction),
        *("--input-size", plan.input_size, "--precision", "auto", "--threads", plan.threads),
        *("--resume", "-o", folder),
    )


def export_and_bench(plan: Plan, student: Student) -> list[dict[str, Any]]:
    """One row per format."""
    rows = []
    for model_format in FORMATS:
        row = {
            "training": {**asdict(student), **bundle(plan.folder(student))},
            **first_accepted(plan, student, model_format),
        }
        key = plan.key(student, model_format)
        append(RESULTS, {**key, "refused": row["needed"] is None}, row)
        rows.append({**key, **row})
    return rows


def first_accepted(plan: Plan, student: Student, model_format: str) -> dict[str, Any]:
    """What the test split says of the first step's file that the export took, and who was refused.

    Returns:
        The figures of :func:`compared` if a step was enough, ``needed``, its name or ``None``, and
        ``refused``, step -> why the export refused its files.
    """
    refused: dict[str, str] = {}
    for step in STEPS:
        if step == "recovery" and not plan.recover:
            continue
        output = output_of(plan, student, model_format, step)
        problems = export(plan, student, output, model_format, step)
        if not problems:
            return {**measured(plan, output, model_format), "needed": step, "refused": refused}
        refused[step] = problems
    return {"needed": None, "refused": refused}


def output_of(plan: Plan, student: Student, model_format: str, step: str) -> Path:
    """Where a step's files go; with other versions elsewhere."""
    digest = hashlib.sha256(json.dumps(versions(), sort_keys=True).encode()).hexdigest()[:8]
    recover = plan.recover if step == "recovery" else 0
    name = f"exported-{step}-recover{recover}-{model_format}-{digest}"
    return plan.folder(student) / name


def measured(plan: Plan, output: Path, model_format: str) -> dict[str, Any]:
    """A bench of both files on the test split."""
    rows = edgekd("bench", output, "--data", plan.data, "--threads", 1)
    return compared(rows, json.loads((output / f"student.int8.{model_format}.json").read_text()))


def export(plan: Plan, student: Student, output: Path, model_format: str, step: str) -> str:
    """Write all files that are not there yet; returns why they were refused, or nothing."""
    expected = [output / f"student{kind}.{model_format}.json" for kind in ("", ".int8")]
    if all(path.is_file() for path in expected):
        return ""
    asked = ("--int8", "--format", model_format, "--max-drop", 100 * BUDGET, "--num-parity", 5000)
    means = (*STEPS[step], "--recover", plan.recover if step == "recovery" else 0)
    try:
        edgekd("export", plan.folder(student), *asked, *means, "--data", plan.data, "-o", output)
    except subprocess.CalledProcessError as failure:
        if failure.returncode != REFUSED:
            raise
        reports = [json.loads(path.read_text()) for path in sorted(output.glob("*.failed.json"))]
        return "; ".join(f"{r['file']}: {', '.join(r['problems'])}" for r in reports)
    return ""


def compared(benched: list[dict[str, Any]], record: dict[str, Any]) -> dict[str, Any]:
    """The int8 file of a format against its fp32 file, measured in the same bench.

    Args:
        benched: Rows of ``edgekd bench``.
        record: Of the int8 file.
    """
    rows = {row["file"]: row for row in benched}
    int8 = rows[record["file"]]
    fp32 = rows[record["file"].replace(".int8.", ".")]
    return {
        "fp32_top1": fp32["metric"]["value"],
        "int8_top1": int8["metric"]["value"],
        "drop": fp32["metric"]["value"] - int8["metric"]["value"],
        "num_samples": int8["metric"]["num_samples"],
        "precision": record["precision"],
        "speedup": fp32["p50_ms"] / int8["p50_ms"],
        "size_ratio": int8["size_bytes"] / fp32["size_bytes"],
        "bench": [fp32, int8],
        "parity": record["parity"],
        "adjustments": record["adjustments"],
        "recovery": record["recovery"],
        "layer_errors": record["layer_errors"],
        "versions": record["versions"],
    }


def chosen(names: list[str]) -> tuple[Student, ...]:
    """Rows of the table by name; any other name is one of timm's, trained as it is."""
    known = {student.name: student for student in STUDENTS}
    return tuple(known.get(name, Student(name, f"timm:{name}")) for name in names) or STUDENTS


def main() -> None:
    """Parse, train, export, bench, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/int8-trained"))
    parser.add_argument("--student", nargs="*", default=[], help="rows, or names of timm; all four")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--label-fraction", type=float, default=0.3)
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recover", type=int, default=2, help="epochs; 0 never trains again")
    parser.add_argument("--jobs", type=int, default=1, help="students trained at a time")
    parser.add_argument("--note", default="", help="kept with every row, e.g. 'machine busy'")
    given = parser.parse_args()
    plan = Plan(
        data=given.data,
        runs=given.runs,
        students=chosen(given.student),
        epochs=given.epochs,
        label_fraction=given.label_fraction,
        input_size=given.input_size,
        seed=given.seed,
        recover=given.recover,
        threads=max(1, (os.cpu_count() or 1) // given.jobs),
        note=given.note,
    )
    side_by_side(given.jobs, [partial(train, plan, student) for student in plan.students])
    rows = [row for student in plan.students for row in export_and_bench(plan, student)]
    text = table(rows)
    (HERE / "table-trained.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
