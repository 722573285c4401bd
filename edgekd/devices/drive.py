"""Following a runner from the outside: the same for a process here and for one on a board.

The runner speaks JSON lines (:mod:`edgekd.devices.runner`); any other line is noise of something
before it. However it ends, what comes back is an :class:`Outcome` or one line for the user.
"""

import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from edgekd.devices.job import Job, Outcome
from edgekd.errors import BundleError, DataError, DeviceError, EdgekdError, ModelError
from edgekd.runtimes.session import format_of, missing_runtime

Watch = Callable[[Mapping[str, Any]], None]

IDLE_SECONDS: Final = 300.0
"""A runner that says nothing for this long is taken for hung; it speaks every few seconds."""

_EVENT: Final = b'{"edgekd":'
_ERRORS: Final[Mapping[str, type[EdgekdError]]] = {
    kind.__name__: kind for kind in (BundleError, DataError, DeviceError, ModelError)
}


class RunnerProcess(Protocol):
    """A started runner, wherever it runs."""

    def lines(self) -> Iterator[bytes]:
        """What it writes on its standard output, until that closes."""

    def kill(self) -> None:
        """End it now; also from another thread, and where it has ended already."""

    def wait(self) -> int:
        """Its exit status; minus the signal's number where one ended it."""

    def last_words(self) -> str:
        """The last line it wrote on standard error, or nothing."""

    def close(self) -> None:
        """End it if it has not ended, and give back what following it took."""


class RunnerDiedError(DeviceError):
    """The runner crashed, hung or was killed; what it ran on still answers."""


def runner_environment(num_threads: int) -> dict[str, str]:
    """One thread count for every pool a library may open by itself."""
    threads = str(num_threads)
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": "1",  # numpy's own; it only encodes
        "PYTHONUTF8": "1",
    }


def drive(job: Job, process: RunnerProcess, *, watch: Watch, idle_seconds: float) -> Outcome:
    """Follow a runner to what it measured; whatever happens, it has ended afterwards.

    Args:
        job: What it was asked.
        process: The runner.
        watch: Called with every event, for progress; what it raises ends the runner.
        idle_seconds: How long the runner may stay silent.

    Raises:
        BundleError: If the model file is damaged.
        DeviceError: If the connection to its device ended.
        MissingExtraError: If the runtime is not installed.
        RunnerDiedError: If the runner crashed, hung or was killed; its last phase is named.
    """
    what = f"{job.name} with {job.num_threads} thread(s)"
    model_format = format_of(Path(job.model))
    fields = follow(process, what, model_format, watch=watch, idle_seconds=idle_seconds)
    return Outcome.from_fields(fields)


def follow(
    process: RunnerProcess, what: str, model_format: str, *, watch: Watch, idle_seconds: float
) -> dict[str, Any]:
    """Follow a runner to the fields of its result; whatever happens, it has ended afterwards.

    Args:
        process: The runner.
        what: It does, for messages.
        model_format: Of the files it runs.
        watch: Called with every event, for progress; what it raises ends the runner.
        idle_seconds: How long the runner may stay silent.

    Raises:
        BundleError: If the runtime refuses a file.
        DeviceError: If the connection to its device ended.
        MissingExtraError: If the runtime is not installed.
        RunnerDiedError: If the runner crashed, hung or was killed; its last phase is named.
    """
    phase, result = "start", None
    watchdog = _Watchdog(process, idle_seconds)
    try:
        for event in _events(process):
            watchdog.restart()
            if event["event"] == "phase":
                phase = event["name"]
            elif event["event"] == "error":
                raise _reported(event, model_format)
            elif event["event"] == "result":
                result = {k: v for k, v in event.items() if k not in ("edgekd", "event")}
            elif event["event"] == "predicted":
                phase = "prediction"
            watch(event)
        status = process.wait()
        last = process.last_words()
    finally:
        watchdog.stop()
        process.close()
    if result is not None and status == 0:
        return result
    raise _died(f"{what}, during {phase}", status, watchdog, last)


def _events(process: RunnerProcess) -> Iterator[dict[str, Any]]:
    for line in process.lines():
        if not line.startswith(_EVENT):
            continue
        try:
            event = json.loads(line)
        except ValueError:  # cut short: the process died while writing it
            return
        yield event


def _reported(event: Mapping[str, Any], model_format: str) -> EdgekdError:
    if event["kind"] == "MissingExtraError":
        return missing_runtime(model_format)
    return _ERRORS.get(event["kind"], DeviceError)(event["message"])


def _died(where: str, status: int, watchdog: "_Watchdog", last: str) -> RunnerDiedError:
    if watchdog.bit:
        return RunnerDiedError(
            f"{where}: no sign of life for {watchdog.seconds:g} s, stopped; "
            "the file may be damaged: export it again"
        )
    said = f"; it last said: {last}" if last else ""
    if status >= 0:
        return RunnerDiedError(f"{where}: the runner ended with status {status}{said}")
    name = signal.Signals(-status).name
    return RunnerDiedError(f"{where}: the runner was ended by {name}, {_remedy(-status)}{said}")


def _remedy(number: int) -> str:
    if number == signal.SIGILL:
        return "the runtime uses instructions this CPU does not have: install another build of it"
    if number == signal.SIGKILL:
        return "probably by the system for lack of memory: free memory or take a smaller model"
    return "the runtime crashed on this file, which may be damaged: export it again"


class _Watchdog:
    """Kills a process that was silent for too long."""

    def __init__(self, process: RunnerProcess, seconds: float) -> None:
        self.bit = False
        self.seconds = seconds
        self._process = process
        self._timer = self._start()

    def restart(self) -> None:
        self._timer.cancel()
        self._timer = self._start()

    def stop(self) -> None:
        self._timer.cancel()

    def _start(self) -> threading.Timer:
        timer = threading.Timer(self.seconds, self._bite)
        timer.daemon = True
        timer.start()
        return timer

    def _bite(self) -> None:
        self.bit = True
        self._process.kill()
