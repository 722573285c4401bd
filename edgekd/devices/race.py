"""Files timed against each other: in one process, in turns, so that a machine's moods cancel out.

Times of different moments must not be compared: another process, a governor or a warm chassis
easily changes them by more than what is looked for. Here every round calls every file
(:mod:`edgekd.devices.rounds`), and what counts is the ratio of two times of the same round. Every
device offers a function of this form: :func:`race` is this machine's.
"""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from edgekd.devices.drive import RunnerDiedError, RunnerProcess, follow
from edgekd.devices.job import Latencies as Latencies
from edgekd.devices.job import RaceJob
from edgekd.devices.local_process import start_runner
from edgekd.errors import BundleError, DeviceError
from edgekd.runtimes.session import format_of

_IDLE_SECONDS: Final = 120.0  # a round of slow files may take half of it


class Race(Protocol):
    """Times files against each other on some device."""

    def __call__(
        self, files: Sequence[Path], *, num_threads: int, seconds: float
    ) -> tuple[Latencies | None, ...]:
        """One entry per file: its time in ns in every round, or ``None`` where it cannot run."""


Once = Callable[[Sequence[Path], float], tuple[Latencies | None, ...]]
"""Files and seconds to times, in one process that any of the files may take down."""


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
        BundleError: If the runtime refuses every file.
        DeviceError: If not even one file alone can be timed.
        MissingExtraError: If the runtime is not installed.
    """

    def once(paths: Sequence[Path], seconds: float) -> tuple[Latencies | None, ...]:
        names = tuple(str(path.absolute()) for path in paths)
        job = RaceJob(files=names, num_threads=num_threads, seconds=seconds)
        with start_runner(job.to_json(), num_threads) as process:
            return times_of(job, process)

    return despite_crashes(once, files, seconds)


def times_of(job: RaceJob, process: RunnerProcess) -> tuple[Latencies | None, ...]:
    """Follow a runner to the times of every file of its race.

    Raises:
        BundleError: If the runtime refuses every file.
        DeviceError: If the connection to its device ended.
        MissingExtraError: If the runtime is not installed.
        RunnerDiedError: If a file crashed or hung the runner.
    """
    fields = follow(
        process,
        f"a race of {len(job.files)} files with {job.num_threads} thread(s)",
        format_of(Path(job.files[0])),
        watch=lambda event: None,
        idle_seconds=_IDLE_SECONDS,
    )
    return tuple(None if found is None else tuple(found) for found in fields["times"])


def despite_crashes(
    once: Once, files: Sequence[Path], seconds: float
) -> tuple[Latencies | None, ...]:
    """A race in which files may crash: they are found out, and the others timed without them.

    Raises:
        BundleError: If the runtime refuses every file.
        DeviceError: If no file runs, or not all that run fit into one process.
    """
    try:
        return once(files, seconds)
    except RunnerDiedError:
        alive = [path for path in files if _runs_alone(once, path)]
    if not alive:
        raise DeviceError("the runtime crashes on every candidate file; see edgekd doctor")
    try:
        times = dict(zip(alive, once(alive, seconds), strict=True))
    except RunnerDiedError as error:
        raise DeviceError(
            f"{error}; each of them runs alone, so memory may be short: free some, or take a "
            "smaller model"
        ) from error
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


def _runs_alone(once: Once, path: Path) -> bool:
    try:
        once([path], 0.0)
    except (BundleError, RunnerDiedError):
        return False
    return True
