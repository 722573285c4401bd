"""How far do the medians of repeated ``edgekd bench`` runs lie apart on one machine?

    python -m benchmarks.bench_overhead.repeat runs/exported

Five runs, each with fresh processes; per file the spread is (largest - smallest) / median of the
five medians. Under 5 % is what an idle machine should give. Appends to ``repeated.jsonl``.
"""

import argparse
import json
import statistics
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.commands import edgekd

RESULTS = Path(__file__).parent / "repeated.jsonl"


def main() -> None:
    """Measure, print, append."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("exported", type=Path, nargs="+", help="files or folders of them")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    command = ("bench", *given.exported, "--threads", given.threads, "--quiet")
    rows = [edgekd(*command) for _ in range(given.runs)]
    time = datetime.now(UTC).isoformat(timespec="seconds")
    with RESULTS.open("a") as file:
        for same in zip(*rows, strict=True):
            medians = [row["p50_ms"] for row in same]
            spread = (max(medians) - min(medians)) / statistics.median(medians)
            first = same[0]
            key = {name: first[name] for name in ("file", "precision", "device", "num_threads")}
            file.write(
                json.dumps({"time": time, **key, "p50_ms": medians, "spread": spread}) + "\n"
            )
            print(f"{first['file']:24} {spread:6.1%}  {medians}")


if __name__ == "__main__":
    main()
