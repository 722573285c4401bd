r"""What lsskd leaves behind: as small and as quick as a plain student, also in int8?

    python -m benchmarks.lsskd.stripped --data cifar10-jpeg.zip \
        --stripped runs/lsskd-cifar10/labels-0.5/plus-features-seed1 \
        --plain runs/lsskd-cifar10/labels-0.5/labels-only-seed1

Both are exported to both formats in fp32 and int8 as a user would, gates included, and measured by
``edgekd bench`` on one thread, the accuracy on all of ``test``. Its files run one after another, so
whether one is slower than its twin is asked of files that are called in turns. Latency needs a
quiet machine; the caption says how quiet it was. Raw rows are appended to
``results-stripped.jsonl``; the table beside it is of this run.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from benchmarks.commands import append, bundle, edgekd, is_finished
from edgekd.devices.race import race, ratio
from edgekd.distill.provenance import machine

HERE = Path(__file__).parent
FILES = ("student.onnx", "student.int8.onnx", "student.tflite", "student.int8.tflite")
RACE_SECONDS = 10.0  # for each file

Row = dict[str, Any]


def files_of(run: Path) -> Path:
    """Where a run's files go: those of other weights that were there before stay what they are."""
    return run.with_name(f"{run.name}-files-{bundle(run)['weights_sha256'][:8]}")


def export(run: Path, data: Path) -> dict[str, Row]:
    """The records of a run's files, made now if they are not there."""
    folder = files_of(run)
    records = {name: folder / f"{name}.json" for name in FILES}
    if not all(record.is_file() for record in records.values()):
        edgekd("export", run, "--int8", "--data", data, "-o", folder)
    return {name: json.loads(record.read_text()) for name, record in records.items()}


def refuse_remains(stripped: dict[str, Row], plain: dict[str, Row]) -> None:
    """Both fp32 files have to compute the same with as much; int8 may suit one and not the other.

    Raises:
        SystemExit: If anything is left of what was there for training only.
    """
    for name in ("student.onnx", "student.tflite"):
        for field in ("num_params", "macs", "audit"):
            left, right = stripped[name][field], plain[name][field]
            if left != right:
                raise SystemExit(f"{name}: {field} {left} where the plain student has {right}")


def measure(runs: dict[str, Path], data: Path, seconds: float) -> list[Row]:
    """One row per file and run, and one per file that says how the two compare."""
    records = {name: export(run, data) for name, run in runs.items()}
    refuse_remains(records["stripped"], records["plain"])
    rows = []
    for name, run in runs.items():
        weights = bundle(run)["weights_sha256"]
        for row in edgekd("bench", files_of(run), "--data", data, "--threads", 1):
            rows.append({"run": name, "weights_sha256": weights, **row})
    weights = bundle(runs["stripped"])["weights_sha256"]
    for file in FILES:
        both = [files_of(runs[name]) / file for name in ("plain", "stripped")]
        plain, stripped = race(both, num_threads=1, seconds=seconds)
        if plain is None or stripped is None:
            raise SystemExit(f"{file}: does not run")
        speed, error = ratio(plain, stripped)
        pair = {"run": "in turns", "weights_sha256": weights, "file": file}
        rows.append(pair | {"plain_over_stripped": speed, "error": error})
    return rows


def table(rows: list[Row], caption: str) -> str:
    """Markdown: what a file of the stripped student is, beside its twin's."""
    found = {(row["run"], row["file"]): row for row in rows}
    lines = [
        caption,
        "",
        "| file | kB | lsskd top-1 % | plain top-1 % | lsskd p50 ms | plain p50 ms | "
        "plain over lsskd, called in turns |",
        "|---|---|---|---|---|---|---|",
    ]
    for file in FILES:
        stripped, plain = found["stripped", file], found["plain", file]
        turns = found["in turns", file]
        metrics = (f"{100 * row['metric']['value']:.2f}" for row in (stripped, plain))
        times = (f"{row['p50_ms']:.3f}" for row in (stripped, plain))
        cells = (
            file,
            f"{stripped['size_bytes'] / 1000:.0f}",
            *metrics,
            *times,
            f"{turns['plain_over_stripped']:.2f} ± {turns['error']:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def describe(runs: dict[str, Path], rows: list[Row]) -> str:
    """What was measured on what."""
    record = bundle(runs["stripped"])
    recipe = record["provenance"]["recipe"]
    num_samples = rows[0]["metric"]["num_samples"]
    spreads = [row["spread"] for row in rows if "spread" in row]
    return (
        f"{recipe['student']} by {recipe['method']} and by labels only, {recipe['epochs']} epochs "
        f"of {recipe['label_fraction']:.0%} of the labels, seed {recipe['seed']}; "
        f"{record['num_params']:,} parameters and {record['macs']:,} MACs each, as many operators "
        f"of each kind in their fp32 files. Test top-1 on {num_samples:,} images; batch 1, 1 "
        f"thread, {machine()}; half of a file's calls spread over {min(spreads):.0%} to "
        f"{max(spreads):.0%} of their p50 (quiet is at most 10%), so compare by the last column "
        "(± standard error)."
    )


def main() -> None:
    """Export, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--stripped", type=Path, required=True, help="finished run by lsskd")
    parser.add_argument("--plain", type=Path, required=True, help="the same student from labels")
    given = parser.parse_args()
    runs = {"stripped": given.stripped, "plain": given.plain}
    absent = [str(run) for run in runs.values() if not is_finished(run)]
    if absent:
        parser.error(f"no finished run in {', '.join(absent)}")
    rows = measure(runs, given.data, RACE_SECONDS)
    for row in rows:
        append(HERE / "results-stripped.jsonl", row, {})
    text = table(rows, describe(runs, rows))
    (HERE / "table-stripped.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
