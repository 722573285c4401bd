"""Files that are written whole or not at all, whatever happens meanwhile."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekd.errors import OutputError


def write_atomically(path: Path, content: bytes) -> None:
    """Write, fsync, rename: ``path`` is always either the old file or the whole new one.

    Raises:
        OutputError: If the disk is full or the folder cannot be written; the old file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with reporting_write_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def reporting_write_errors(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` while writing ``path`` into one line for the user.

    Raises:
        OutputError: For any ``OSError`` inside the block.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{path}: cannot be written ({reason}); free space there, or use a folder that can be "
            "written (files to measure: copy them to one)"
        ) from error


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Let one process at a time work in a folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # closing releases the lock


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
