"""This machine as a device: describes itself and runs the runner in a fresh process."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from edgekd.devices.job import Job, Outcome
from edgekd.devices.probe import probe
from edgekd.errors import BundleError, DataError, DeviceError, EdgekdError, ModelError
from edgekd.records import DeviceInfo
from edgekd.runtimes.session import format_of, missing_runtime

Watch = Callable[[Mapping[str, Any]], None]

NAME: Final = "local"
IDLE_SECONDS: Final = 300.0
"""A runner that says nothing for this long is taken for hung; it speaks every few seconds."""

_ENVIRONMENT: Final = (
    "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME",
)  # fmt: skip
_ERRORS: Final[Mapping[str, type[EdgekdError]]] = {
    kind.__name__: kind for kind in (BundleError, DataError, DeviceError, ModelError)
}
_STDERR_TAIL: Final = 2000


def describe() -> DeviceInfo:
    """This machine, as it is at the moment."""
    return DeviceInfo(name=NAME, **probe())


def measure(
    job: Job, *, watch: Watch = lambda event: None, idle_seconds: float = IDLE_SECONDS
) -> Outcome:
    """Run one job in a fresh process.

    Args:
        job: What to measure; its paths are of this machine.
        watch: Called with every event of the runner, for progress.
        idle_seconds: How long the runner may stay silent.

    Raises:
        BundleError: If the model file is damaged.
        DeviceError: If the runner crashed, hung or was killed; its last phase is named.
        MissingExtraError: If the runtime is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-job-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(job.to_json(), encoding="utf-8")
        with (Path(folder) / "stderr").open("w+b") as stderr:
            return _drive(job, path, stderr, watch, idle_seconds)


def _drive(job: Job, path: Path, stderr: IO[bytes], watch: Watch, idle_seconds: float) -> Outcome:
    phase, result = "start", None
    process = subprocess.Popen(
        # -P: a file named numpy.py in the user's folder is not ours to import
        [sys.executable, "-P", "-m", "edgekd.devices.runner", str(path)],
        stdin=subprocess.PIPE,  # the runner ends itself when this closes
        stdout=subprocess.PIPE,
        stderr=stderr,  # a file: no pipe that could fill up
        env=_environment(job.num_threads),
    )
    watchdog = _Watchdog(process, idle_seconds)
    try:
        for event in _events(process):
            watchdog.restart()
            if event["event"] == "phase":
                phase = event["name"]
            elif event["event"] == "error":
                raise _reported(event, job)
            elif event["event"] == "result":
                result = _result(event)
            elif event["event"] == "predicted":
                phase = "prediction"
            watch(event)
        status = process.wait()
    finally:
        watchdog.stop()
        process.kill()
        process.communicate()
    if result is not None and status == 0:
        return result
    raise _died(job, phase, status, watchdog, stderr)


def _environment(num_threads: int) -> dict[str, str]:
    """Little of ours, and one thread count for every pool a library may open by itself."""
    kept = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
    threads = str(num_threads)
    return {
        **kept,
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": "1",  # numpy's own; it only encodes
        "PYTHONUTF8": "1",
    }


def _events(process: "subprocess.Popen[bytes]") -> Iterator[dict[str, Any]]:
    """The runner's events; any other line on its output is noise of something before it."""
    if process.stdout is None:
        raise ValueError("the process has no output pipe")
    for line in process.stdout:
        if not line.startswith(b'{"edgekd":'):
            continue
        try:
            event = json.loads(line)
        except ValueError:  # cut short: the process died while writing it
            return
        yield event


def _result(event: Mapping[str, Any]) -> Outcome:
    return Outcome.from_fields({k: v for k, v in event.items() if k not in ("edgekd", "event")})


def _reported(event: Mapping[str, Any], job: Job) -> EdgekdError:
    if event["kind"] == "MissingExtraError":
        return missing_runtime(format_of(Path(job.model)))
    return _ERRORS.get(event["kind"], DeviceError)(event["message"])


def _died(
    job: Job, phase: str, status: int, watchdog: "_Watchdog", stderr: IO[bytes]
) -> DeviceError:
    where = f"{job.name} with {job.num_threads} thread(s), during {phase}"
    if watchdog.bit:
        return DeviceError(
            f"{where}: no sign of life for {watchdog.seconds:g} s, stopped; "
            "the file may be damaged: export it again"
        )
    last = _last_line(stderr)
    said = f"; it last said: {last}" if last else ""
    if status >= 0:
        return DeviceError(f"{where}: the runner ended with status {status}{said}")
    name = signal.Signals(-status).name
    return DeviceError(f"{where}: the runner was ended by {name}, {_remedy(-status)}{said}")


def _remedy(number: int) -> str:
    if number == signal.SIGILL:
        return "the runtime uses instructions this CPU does not have: install another build of it"
    if number == signal.SIGKILL:
        return "probably by the system for lack of memory: free memory or take a smaller model"
    return "the runtime crashed on this file, which may be damaged: export it again"


def _last_line(stderr: IO[bytes]) -> str:
    stderr.flush()
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - _STDERR_TAIL))
    lines = stderr.read().decode(errors="replace").split("\n")
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


class _Watchdog:
    """Kills a process that was silent for too long."""

    def __init__(self, process: "subprocess.Popen[bytes]", seconds: float) -> None:
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
