"""Converters run in a process of their own.

Their noise stays out of the terminal, and a crash in native code ends that process and not the
export.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from edgekd.errors import ExportError

_TAIL_LINES: Final = 15


def run_converter(module: str, job: Mapping[str, Any], folder: Path, *, purpose: str) -> None:
    """Run ``python -m module JOB.json`` and wait for it.

    Args:
        module: A module of edgekd whose ``__main__`` reads the job file it is given.
        job: JSON values: paths, names and switches; no code.
        folder: Scratch folder for the job file and the converter's output.
        purpose: What it does, for the error: ``"convert to TFLite"``.

    Raises:
        ExportError: If the process fails; the message carries the end of its output.
    """
    job_file, log_file = folder / "job.json", folder / "converter.log"
    job_file.write_text(json.dumps(job))
    with log_file.open("wb") as log:
        status = subprocess.run(
            [sys.executable, "-m", module, str(job_file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if status != 0:
        raise ExportError(f"cannot {purpose} ({_reason(status)}); it said:\n{_tail(log_file)}")


def read_job() -> dict[str, Any]:
    """The job this process was started with."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    return job


def _reason(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit code {status}"


def _tail(log: Path) -> str:
    lines = [line.rstrip() for line in log.read_text(errors="replace").splitlines()]
    return "\n".join(f"  {line}" for line in [x for x in lines if x][-_TAIL_LINES:])
