"""What does one other busy process cost a training, and does ``OMP_WAIT_POLICY=PASSIVE`` mend it?

    python -m benchmarks.busy_machine.run

Threads of OpenMP that wait for each other spin, and where another process holds a core they spin
for nothing. The same training of the built-in digits runs with the variable unset and PASSIVE,
alone and beside one process that counts, in turns; every call is a process of its own. Needs a
quiet machine. Appends a line per training to ``results.jsonl`` beside itself.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.commands import ROOT
from edgekd.distill.provenance import machine, versions

RESULTS = Path(__file__).with_name("results.jsonl")
VARIABLE = "OMP_WAIT_POLICY"
POLICIES = (None, "PASSIVE")


@contextmanager
def others(count: int) -> Iterator[None]:
    """So many processes that keep a core each busy, ended at the end."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def train(policy: str | None, epochs: int, threads: int | None) -> dict:
    """One training, as ``edgekd teach --json`` reports it."""
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    if policy is not None:
        environment[VARIABLE] = policy
    command = [
        sys.executable, "-m", "edgekd", "teach", "--data", "builtin:digits", "--model", "resnet8",
        "--epochs", str(epochs), "--precision", "fp32", "--quiet", "--json",
        *(() if threads is None else ("--threads", str(threads))),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "-o", f"{folder}/run"],
            stdout=subprocess.PIPE,
            check=True,
            cwd=ROOT,
            env=environment,
        )
    return json.loads(done.stdout)


def main() -> None:
    """Measure in turns, append, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None, help="all cores if left out")
    given = parser.parse_args()
    found: dict[tuple[str | None, int], list[float]] = {}
    for number in range(given.rounds):
        for policy in POLICIES:
            for busy in (0, 1):
                with others(busy):
                    result = train(policy, given.epochs, given.threads)
                seconds = result["train_seconds"]
                found.setdefault((policy, busy), []).append(seconds)
                line = {
                    "time": datetime.now(UTC).isoformat(timespec="seconds"),
                    "wait_policy": policy,
                    "busy_processes": busy,
                    "round": number,
                    "epochs": given.epochs,
                    "num_threads": result["num_threads"],
                    "num_cores": os.cpu_count(),
                    "train_seconds": seconds,
                    "machine": machine(),
                    "versions": versions(),
                }
                with RESULTS.open("a") as file:
                    file.write(json.dumps(line) + "\n")
    for (policy, busy), seconds in found.items():
        median = statistics.median(seconds)
        print(f"{VARIABLE} {policy or 'unset':8} beside {busy} busy process(es): {median:.2f} s")


if __name__ == "__main__":
    main()
