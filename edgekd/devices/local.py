"""This machine as a device: describes itself and runs the runner in a fresh process."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from edgekd.devices.book import LOCAL
from edgekd.devices.drive import IDLE_SECONDS, Watch, drive, runner_environment
from edgekd.devices.job import Job, Outcome
from edgekd.devices.probe import probe
from edgekd.records import DeviceInfo

NAME: Final = LOCAL

_ENVIRONMENT: Final = (
    "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME",
)  # fmt: skip
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
            process = _Process(path, job.num_threads, stderr)
            return drive(job, process, watch=watch, idle_seconds=idle_seconds)


class _Process:
    """A runner on this machine."""

    def __init__(self, job_file: Path, num_threads: int, stderr: IO[bytes]) -> None:
        kept = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
        self._stderr = stderr
        self._process = subprocess.Popen(
            # -P: a file named numpy.py in the user's folder is not ours to import
            [sys.executable, "-P", "-m", "edgekd.devices.runner", str(job_file)],
            stdin=subprocess.PIPE,  # the runner ends itself when this closes
            stdout=subprocess.PIPE,
            stderr=stderr,  # a file: no pipe that could fill up
            env={**kept, **runner_environment(num_threads)},
        )

    def lines(self) -> Iterator[bytes]:
        if self._process.stdout is None:
            raise ValueError("the process has no output pipe")
        yield from self._process.stdout

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> int:
        return self._process.wait()

    def last_words(self) -> str:
        self._stderr.flush()
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _STDERR_TAIL))
        lines = self._stderr.read().decode(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
