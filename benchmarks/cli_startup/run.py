"""How long ``edgekd --help`` takes, beside a bare interpreter and ``import click``.

Run as ``python -m benchmarks.cli_startup.run [CALLS]``; appends one JSON line per command with all
raw times to ``results.jsonl`` beside this file and prints the medians. The bound is 0.25 s.
"""

import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

BOUND_SECONDS = 0.25
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import click'": [sys.executable, "-c", "import click"],
    "edgekd --help": [str(Path(sys.executable).with_name("edgekd")), "--help"],
}


def seconds(command: list[str]) -> float:
    """Wall time of one call, from start to exit."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    """Interleave the commands, so that a slow moment of the machine hits all of them."""
    num_calls = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(num_calls):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    with Path(__file__).with_name("results.jsonl").open("a", encoding="utf-8") as file:
        for name, measured in times.items():
            line = {
                "command": name,
                "seconds": [round(s, 5) for s in measured],
                "python": platform.python_version(),
                "machine": platform.machine(),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            file.write(json.dumps(line) + "\n")
    for name, measured in times.items():
        print(f"{statistics.median(measured):7.3f} s (max {max(measured):.3f})  {name}")
    median = statistics.median(times["edgekd --help"])
    print(f"edgekd --help: {median:.3f} s, bound {BOUND_SECONDS} s")
    sys.exit(median > BOUND_SECONDS)


if __name__ == "__main__":
    main()
