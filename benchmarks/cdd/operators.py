"""Where the time of dense and CDD files goes, operator by operator, on one thread.

    python -m benchmarks.cdd.operators runs/cdd-classification

Reads the files that ``benchmarks.cdd.run … --phase latency`` exported. Both networks are timed in
turns, and every figure is the median of five rounds; ``operator_timing.py`` says how. Needs a quiet
machine. Raw figures are appended to ``operators.jsonl``.
"""

import argparse
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from benchmarks.cdd.experiments import HERE, OURS, TEACHER
from benchmarks.cdd.operator_timing import Operator, Timing, macs_of, timed, total_us
from edgekd.distill.provenance import machine

FILES = ("student.int8.onnx", "student.int8.tflite", "student.onnx", "student.tflite")


def table(file: str, timings: list[Timing], macs: list[Counter[str]]) -> str:
    """Markdown: convolutions in order of the graph's stages, then everything else by its kind."""
    dense, pruned = timings
    lines = [
        f"`{file}`: whole inference {dense.whole:.0f} µs dense, {pruned.whole:.0f} µs CDD "
        f"({dense.whole / pruned.whole:.2f} times as fast); the sums of the operators are "
        f"{total_us(dense.operators):.0f} and {total_us(pruned.operators):.0f} µs.",
        "",
        "| operators | dense µs | CDD µs | saved µs | times as fast | MACs promise "
        "| dense GMAC/s | CDD GMAC/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(o.group for o in (*dense.operators, *pruned.operators)):
        groups = [[o for o in timing.operators if o.group == name] for timing in timings]
        lines.append(
            _line(f"{name} ({len(groups[0])}, {len(groups[1])})", groups, [m[name] for m in macs])
        )
    return "\n".join(lines) + "\n"


def _line(name: str, groups: list[list[Operator]], macs: list[int]) -> str:
    before, after = map(total_us, groups)
    cells = [name, f"{before:.1f}", f"{after:.1f}", f"{before - after:.1f}"]
    cells.append(f"{before / after:.2f}" if after > 0 else "")
    if all(macs):
        cells.append(f"{macs[0] / macs[1]:.2f}")
        cells += [f"{macs[0] / before / 1e3:.1f}", f"{macs[1] / after / 1e3:.1f}"]
    else:
        cells += ["", "", ""]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Parse, time, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder of the experiment's runs")
    parser.add_argument("--seed", type=int, default=0, help="of the CDD student")
    given = parser.parse_args()
    names = (TEACHER, f"{OURS.lower()}-seed{given.seed}")
    folders = [given.runs / f"exported-{name}" for name in names]
    macs = [macs_of(folder / "student.tflite") for folder in folders]
    conditions = f"batch 1, one thread, {machine()}"
    tables = [
        f"Dense network and CDD student (seed {given.seed}), {conditions}. Times are differences "
        "of medians: some microseconds either way are noise, below zero too.\n"
    ]
    for file in FILES:
        timings = timed([folder / file for folder in folders])
        tables.append(table(file, timings, macs))
        with (HERE / "operators.jsonl").open("a") as raw:
            for name, timing in zip(names, timings, strict=True):
                row = {"runs": given.runs.name, "run": name, "file": file, "machine": machine()}
                raw.write(json.dumps(row | asdict(timing)) + "\n")
    text = "\n".join(tables)
    (HERE / f"operators-{given.runs.name.removeprefix('cdd-')}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
