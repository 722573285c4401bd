"""Files called in turns in one process: the part of a race that runs where time is taken.

Standard library, numpy and the runtime only: this very code is what a board runs.
"""

import gc
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from edgekd.devices.calls import Emit
from edgekd.devices.job import Latencies, RaceJob
from edgekd.errors import BundleError
from edgekd.runtimes.random_inputs import random_feeds
from edgekd.runtimes.session import (
    RUNTIMES,
    format_of,
    load_runtime,
    open_session,
    reporting_runtime_errors,
)

_MIN_ROUNDS: Final = 7
_MAX_ROUNDS: Final = 60
_TURN_NS: Final = 12_000_000  # a turn lasts so long: other processes seldom spoil all its calls
_MOST_CALLS: Final = 24
_BEAT_SECONDS: Final = 5.0


def run_race(job: RaceJob, emit: Emit) -> list[Latencies | None]:
    """Load the files of a race and time them against each other.

    Args:
        job: Which files.
        emit: Called as ``emit("phase", name=...)`` when one begins and while it goes on.

    Returns:
        Per file its best time in ns of each round; ``None`` where the runtime refuses it.

    Raises:
        BundleError: If the runtime refuses every file; it says why of the last one.
        MissingExtraError: If the runtime is not installed.
    """
    paths = [Path(name) for name in job.files]
    emit("phase", name="import")
    for model_format in dict.fromkeys(format_of(path) for path in paths):
        load_runtime(model_format)
    calls: list[Callable[[], Any] | None] = []
    refusal: BundleError | None = None
    for path in paths:
        emit("phase", name="load")
        try:
            calls.append(_prepared(path, job.num_threads))
        except BundleError as error:  # a mixture it has no kernels for: the others are timed
            calls.append(None)
            refusal = error
    running = [call for call in calls if call is not None]
    if refusal is not None and not running:
        raise refusal
    gc.collect()
    gc.disable()
    times = iter(
        run_rounds(
            running,
            seconds=job.seconds,
            clock=time.perf_counter_ns,
            beat=_slowly(partial(emit, "phase", name="timing")),
        )
    )
    return [None if call is None else next(times) for call in calls]


def run_rounds(
    calls: Sequence[Callable[[], Any]],
    *,
    seconds: float,
    clock: Callable[[], int],
    beat: Callable[[], None] = lambda: None,
) -> list[Latencies]:
    """Call every function in turns; each turn's time is the best of its calls but the first.

    The first call of a turn refills the caches that the others emptied.

    Args:
        calls: What to time.
        seconds: About how long each is timed; at least 7 rounds are made, at most 60.
        clock: Nanoseconds.
        beat: Called before every round, never while the clock runs.
    """
    times: list[list[int]] = [[] for _ in calls]
    end = clock() + int(seconds * len(calls) * 1e9)
    rounds = 0
    while rounds < _MIN_ROUNDS or (rounds < _MAX_ROUNDS and clock() < end):
        beat()
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


def _prepared(path: Path, num_threads: int) -> Callable[[], Any]:
    """A call that has run once.

    Raises:
        BundleError: If the runtime refuses the file.
    """
    session = open_session(path, num_threads=num_threads)
    call = partial(session.invoke, random_feeds(session.inputs, batch=1, seed=0))
    with reporting_runtime_errors(path, RUNTIMES[format_of(path)].name, "run"):
        call()
    return call


def _slowly(say: Callable[[], None]) -> Callable[[], None]:
    """Says it at once, and then every few seconds at most."""
    due = 0.0

    def say_if_due() -> None:
        nonlocal due
        if time.monotonic() >= due:
            say()
            due = time.monotonic() + _BEAT_SECONDS

    return say_if_due
