"""A runner on this machine: a fresh process, fed with a file, that ends with this one."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from edgekd.devices.drive import runner_environment

_ENVIRONMENT: Final = (
    "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME",
)  # fmt: skip
_STDERR_TAIL: Final = 2000


@contextmanager
def start_runner(job: str, num_threads: int) -> Iterator["LocalProcess"]:
    """A runner that was given a job; its files are gone afterwards, and so is it.

    Args:
        job: As JSON; its paths are of this machine.
        num_threads: That its libraries may open.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-job-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(job, encoding="utf-8")
        with (Path(folder) / "stderr").open("w+b") as stderr:
            process = LocalProcess(path, num_threads, stderr)
            try:
                yield process
            finally:
                process.close()


class LocalProcess:
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
        """What it writes on its standard output, until that closes."""
        if self._process.stdout is None:
            raise ValueError("the process has no output pipe")
        yield from self._process.stdout

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def wait(self) -> int:
        """Its exit status; minus the signal's number where one ended it."""
        return self._process.wait()

    def last_words(self) -> str:
        """The last line it wrote on standard error, or nothing."""
        self._stderr.flush()
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - _STDERR_TAIL))
        lines = self._stderr.read().decode(errors="replace").split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """End it if it has not ended, and give back what following it took; also twice."""
        self._process.kill()
        self._process.communicate()
