"""Finding the processes that a test started, to see them end or to end them."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest


def find_runner(folder: Path) -> int | None:
    """The process id of the runner of a board that keeps its files below ``folder``."""
    for process in Path("/proc").glob("[0-9]*"):
        number = process.name
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        job = command[-2] if len(command) > 1 else b""
        if job.startswith(bytes(folder)) and job.endswith(b"/job/job.json") and _lives(number):
            return int(number)
    return None


def parent_of(pid: int) -> int:
    """The process that started another."""
    return int(_stat(str(pid))[1])


def wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    """Wait for something that happens soon."""
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            pytest.fail(f"it did not happen within {seconds:g} s")
        time.sleep(0.05)


def _lives(number: str) -> bool:
    try:
        return _stat(number)[0] != "Z"
    except OSError:
        return False


def _stat(number: str) -> list[str]:
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
