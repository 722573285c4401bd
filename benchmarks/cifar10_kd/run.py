"""Teacher, students from labels and from the teacher, both formats in fp32 and int8, on CIFAR-10.

    python -m benchmarks.cifar10_kd.run --data cifar10-jpeg.zip

Runs the ``edgekd`` commands a user would type, one after another; every training resumes, so the
driver can be killed and started again. Writes ``results.jsonl``, the records of exactly the runs
and files of the table, and ``table.md``, which is made from it alone (``--table``). What was tried
on the way to these recipes is in ``attempts.jsonl``.
"""

import argparse
import json
import os
import statistics
from functools import partial
from pathlib import Path

from benchmarks.commands import ROOT, bundle, edgekd, is_finished, minutes, summary, test_top1
from benchmarks.parallel import side_by_side

HERE = Path(__file__).parent
TEACHER_RECIPE = ROOT / "models" / "cifar10-resnet18w32-teacher" / "recipe.toml"
STUDENT_RECIPE = ROOT / "models" / "kd-resnet8-cifar10" / "recipe.toml"
RESULTS = HERE / "results.jsonl"
LONGER = "labels-longer"
ROWS = {
    "none": "ResNet-8 from labels",
    "kd": "ResNet-8 by `kd`",
    LONGER: "ResNet-8 from labels, as long as `kd` took",
}
"""Folder -> how the table calls it."""


def train(data: Path, runs: Path, seeds: list[int], jobs: int, *, equal_time: bool) -> None:
    """Everything that is trained; a folder that holds a bundle is finished.

    The teacher has all cores; students train ``jobs`` at a time with an equal share of them.
    """
    common = ("--data", data, "--resume")
    if not is_finished(runs / "teacher"):
        edgekd("teach", "--recipe", TEACHER_RECIPE, *common, "-o", runs / "teacher")
    threads = max(1, (os.cpu_count() or 1) // jobs)

    def student(row: str, seed: int, *more: object) -> None:
        taught = ("--teacher", runs / "teacher") if row == "kd" else ()
        method = ("--method", "kd" if row == "kd" else "none")
        output = runs / f"{row}-seed{seed}"
        if not is_finished(output):
            what = ("--recipe", STUDENT_RECIPE, *method, "--seed", seed, *taught, *more)
            edgekd("distill", *what, "--threads", threads, *common, "-o", output)

    def students(rows: tuple[str, ...], *more: object) -> None:
        side_by_side(jobs, [partial(student, row, seed, *more) for seed in seeds for row in rows])

    students(("none", "kd"))
    if equal_time:
        students((LONGER,), "--epochs", epochs_of_equal_time(runs, seeds))


def epochs_of_equal_time(runs: Path, seeds: list[int]) -> int:
    """How many epochs from labels take the minutes that ``kd`` took."""
    labels, kd = ([bundle(runs / f"{row}-seed{s}") for s in seeds] for row in ("none", "kd"))
    return max(1, round(epochs(labels[0]) * minutes(kd) / minutes(labels)))


def epochs(record: dict) -> int:
    """How long a run was."""
    return int(record["provenance"]["recipe"]["epochs"])


def export_and_bench(data: Path, runs: Path, seeds: list[int]) -> list[dict]:
    """One row per exported file of every distilled student."""
    rows = []
    for seed in seeds:
        output = runs / f"exported-seed{seed}"
        source = runs / f"kd-seed{seed}"
        exported = edgekd("export", source, "--int8", "--data", data, "-o", output)
        measured = edgekd("bench", output, "--data", data, "--threads", 1)
        shares = {row["file"]: row for row in exported}
        for row in measured:
            export = shares[row["file"]]
            rows.append(
                row
                | {"seed": seed, "int8_macs_share": export["int8_macs_share"]}
                | {"parity": export["parity"], "fp32_torch_top1": test_top1(bundle(source))}
            )
    return rows


def record(runs: Path, seeds: list[int], measured: list[dict]) -> None:
    """Write what the table is made of: the bundles, then the measured files."""
    names = ["teacher", *(f"{row}-seed{seed}" for row in ROWS for seed in seeds)]
    done = [name for name in names if is_finished(runs / name)]
    rows = [{"run": name} | bundle(runs / name) for name in done]
    rows += [{"run": f"kd-seed{row['seed']}"} | row for row in measured]
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))


def table(rows: list[dict]) -> str:
    """The Markdown table of README and this folder."""
    bundles = {row["run"]: row for row in rows if "file" not in row}
    teacher = bundles.pop("teacher")
    students = {row: [b for run, b in bundles.items() if run.startswith(row + "-")] for row in ROWS}
    lines = networks(teacher, {row: group for row, group in students.items() if group})
    return "\n".join([*lines, "", *files([row for row in rows if "file" in row])]) + "\n"


def networks(teacher: dict, students: dict[str, list[dict]]) -> list[str]:
    """What was trained."""
    provenance = teacher["provenance"]
    lines = [
        f"CIFAR-10 (JPEG copy), test split of {teacher['metrics'][1]['num_samples']:,} images, "
        f"last epoch, {len(students['kd'])} seeds (mean ± standard deviation), equal epochs, "
        f"training threads: teacher {provenance['num_threads']}, students "
        f"{students['kd'][0]['provenance']['num_threads']} each; {provenance['machine']}.",
        "",
        "| network | top-1 % | parameters | MACs | epochs | training minutes |",
        "|---|---|---|---|---|---|",
    ]
    for name, group in {f"teacher: {title(teacher)}": [teacher], **students}.items():
        lines.append(
            f"| {ROWS.get(name, name)} | {summary([test_top1(b) for b in group])} | "
            f"{group[0]['num_params']:,} | {group[0]['macs']:,} | "
            f"{epochs(group[0])} | {minutes(group):.1f} |"
        )
    return lines


def title(record: dict) -> str:
    """A network by the words of its recipe."""
    recipe = record["provenance"]["recipe"]
    name = recipe["student"].replace("resnet", "ResNet-")
    return f"{name}, {recipe['student_options']['width']} wide"


def files(rows: list[dict]) -> list[str]:
    """What was exported, measured."""
    lines = [
        "| file (batch 1, 1 thread) | top-1 % | drop, points | p50 ms | p90 ms | p99 ms | "
        "speed-up over its fp32 | size kB | int8 share of MACs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in sorted({(row["format"], row["precision"]) for row in rows}):
        group = [row for row in rows if (row["format"], row["precision"]) == kind]
        floats = {r["seed"]: r for r in rows if (r["format"], r["precision"]) == (kind[0], "fp32")}
        speed = [floats[row["seed"]]["p50_ms"] / row["p50_ms"] for row in group]
        drops = [row["fp32_torch_top1"] - row["metric"]["value"] for row in group]
        first = group[0]
        mean = {k: statistics.mean(r[k] for r in group) for k in ("p50_ms", "p90_ms", "p99_ms")}
        lines.append(
            f"| {kind[0]} {kind[1]} | {summary([r['metric']['value'] for r in group])} | "
            f"{summary(drops)} | {mean['p50_ms']:.3f} | {mean['p90_ms']:.3f} | "
            f"{mean['p99_ms']:.3f} | {statistics.mean(speed):.2f} | "
            f"{first['size_bytes'] / 1000:.0f} | {first['int8_macs_share']:.2f} |"
        )
    return lines


def main() -> None:
    """Parse, train, export, bench, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the JPEG copy of CIFAR-10")
    parser.add_argument("--runs", type=Path, default=Path("runs/cifar10_kd"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1, help="students trained at a time")
    parser.add_argument(
        "--equal-time", action="store_true", help="also labels alone for as long as kd took"
    )
    parser.add_argument("--table", action="store_true", help="only make the table again")
    given = parser.parse_args()
    if not given.table:
        if given.data is None:
            parser.error("--data is needed to train and to measure")
        train(given.data, given.runs, given.seeds, given.jobs, equal_time=given.equal_time)
        measured = export_and_bench(given.data, given.runs, given.seeds)
        record(given.runs, given.seeds, measured)
    text = table([json.loads(line) for line in RESULTS.read_text().splitlines()])
    (HERE / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
