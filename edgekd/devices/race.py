"""Files timed against each other: in one process, in turns, so that a machine's moods cancel out.

Times of different moments must not be compared: another process, a governor or a warm chassis
easily changes them by more than what is looked for. Here every round calls every file, and what
counts is the ratio of two times of the same round. :func:`race` starts a fresh process on this
machine; it is the only call a search for fast files makes, so that another device can stand in
for it by offering a function of the same form.

``python -m edgekd.devices.race JOB.json`` is that process.
"""

import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from edgekd.errors import DeviceError, EdgekdError
from edgekd.runtimes.encoding import random_feeds
from edgekd.runtimes.session import RUNTIMES, format_of, open_session, reporting_runtime_errors

Latencies = tuple[int, ...]

_MIN_ROUNDS: Final = 7
_MAX_ROUNDS: Final = 60
_TURN_NS: Final = 12_000_000  # a turn lasts so long: other processes seldom spoil all its calls
_MOST_CALLS: Final = 24
_TIMEOUT_SECONDS: Final = 240.0
_ENVIRONMENT: Final = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH")


class Race(Protocol):
    """Times files against each other on some device."""

    def __call__(
        self, files: Sequence[Path], *, num_threads: int, seconds: float
    ) -> tuple[Latencies | None, ...]:
        """One entry per file: its time in ns in every round, or ``None`` where it cannot run."""


def race(
    files: Sequence[Path], *, num_threads: int, seconds: float
) -> tuple[Latencies | None, ...]:
    """Time files on this machine, in a fresh process.

    Args:
        files: ``.onnx`` or ``.tflite`` files that take the same inputs.
        num_threads: Threads that compute, >= 1.
        seconds: About how long each file is timed, loading not included.

    Returns:
        Per file its best time in ns of each round; entries of one index are of one round. ``None``
        where a file does not load, or fails or crashes when it runs.

    Raises:
        DeviceError: If not even one file alone can be timed.
    """
    found = _in_a_process(files, num_threads, seconds)
    if found is not None:
        return found
    # one of them took the process down: find out which, then time the others
    alive = [
        path for path in files if _in_a_process([path], num_threads, 0.0) not in (None, (None,))
    ]
    again = _in_a_process(alive, num_threads, seconds) if alive else None
    if again is None:
        raise DeviceError("the runtime crashes on every candidate file; see edgekd doctor")
    times = dict(zip(alive, again, strict=True))
    return tuple(times.get(path) for path in files)


def ratio(times: Latencies, reference: Latencies) -> tuple[float, float]:
    """How many times as long as ``reference``: median over the rounds, and its standard error.

    >>> ratio((10, 20, 30), (20, 40, 60))
    (0.5, 0.0)
    """
    ratios = [a / b for a, b in zip(times, reference, strict=True)]
    middle = statistics.median(ratios)
    spread = statistics.median(abs(x - middle) for x in ratios)
    # 1.4826 MAD estimates the deviation; a median's error is 1.2533 times that of a mean
    return middle, 1.4826 * 1.2533 * spread / len(ratios) ** 0.5


def run_rounds(
    calls: Sequence[Callable[[], Any]], *, seconds: float, clock: Callable[[], int]
) -> list[Latencies]:
    """Call every function in turns; each turn's time is the best of its calls but the first.

    The first call of a turn refills the caches that the others emptied.

    Args:
        calls: What to time.
        seconds: About how long each is timed; at least 7 rounds are made, at most 60.
        clock: Nanoseconds.
    """
    times: list[list[int]] = [[] for _ in calls]
    end = clock() + int(seconds * len(calls) * 1e9)
    rounds = 0
    while rounds < _MIN_ROUNDS or (rounds < _MAX_ROUNDS and clock() < end):
        for call, found in zip(calls, times, strict=True):
            call()
            found.append(_turn(call, clock))
        rounds += 1
    return [tuple(found) for found in times]


def _turn(call: Callable[[], Any], clock: Callable[[], int]) -> int:
    end = clock() + _TURN_NS
    best = min(_timed(call, clock), _timed(call, clock))
    for _ in range(_MOST_CALLS - 2):
        if clock() >= end:
            break
        best = min(best, _timed(call, clock))
    return best


def _timed(call: Callable[[], Any], clock: Callable[[], int]) -> int:
    start = clock()
    call()
    return clock() - start


def _in_a_process(
    files: Sequence[Path], num_threads: int, seconds: float
) -> tuple[Latencies | None, ...] | None:
    """The times, or ``None`` where the process died."""
    with tempfile.TemporaryDirectory(prefix="edgekd-race-") as folder:
        job, answer = Path(folder) / "job.json", Path(folder) / "times.json"
        fields = {
            "files": [str(path.absolute()) for path in files],
            "num_threads": num_threads,
            "seconds": seconds,
            "answer": str(answer),
        }
        job.write_text(json.dumps(fields), encoding="utf-8")
        kept = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
        threads = str(num_threads)
        try:
            subprocess.run(
                [sys.executable, "-P", "-m", "edgekd.devices.race", str(job)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**kept, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": "1"},
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
        if not answer.exists():
            return None
        times = json.loads(answer.read_text(encoding="utf-8"))
    return tuple(None if found is None else tuple(found) for found in times)


def _main(job_file: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    job = json.loads(job_file.read_text(encoding="utf-8"))
    calls = [_prepared(Path(path), job["num_threads"]) for path in job["files"]]
    gc.collect()
    gc.disable()
    running = [call for call in calls if call is not None]
    times = iter(run_rounds(running, seconds=job["seconds"], clock=time.perf_counter_ns))
    answer = [None if call is None else next(times) for call in calls]
    partial_file = Path(job["answer"] + ".part")
    partial_file.write_text(json.dumps(answer), encoding="utf-8")
    partial_file.rename(job["answer"])  # whole or not at all


def _prepared(path: Path, num_threads: int) -> Callable[[], Any] | None:
    """A call that has run once; ``None`` where the runtime refuses the file."""
    try:
        session = open_session(path, num_threads=num_threads)
        feeds = random_feeds(session.inputs, batch=1, seed=0)
        call = partial(session.invoke, feeds)
        with reporting_runtime_errors(path, RUNTIMES[format_of(path)].name, "run"):
            call()
    except EdgekdError:
        return None
    return call


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
