"""What a board is and whether files can be kept there. Standard library only."""

import errno
import os
import platform
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

from edgekd.devices.probe import cpu_flags, probe


def facts(folder: Path) -> dict[str, Any]:
    """All that the host has to know before it sends anything.

    Args:
        folder: Where files shall be kept; made, to see whether it can be.
    """
    return {
        "device": probe(),
        "cpu_flags": cpu_flags(),
        "bits": struct.calcsize("P") * 8,
        "python": list(sys.version_info[:3]),
        "implementation": platform.python_implementation(),
        "libc": list(_libc()),
        "folder": str(folder),
        "writable": _why_not_writable(folder),
        "free_bytes": shutil.disk_usage(_existing(folder)).free,
    }


def default_folder() -> Path:
    """The user's cache, where the system's own is not named otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path("~/.cache").expanduser()) / "edgekd"


def _libc() -> tuple[str, str]:
    """``("glibc", "2.36")``; empty where it is another one."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):  # musl has no such name
        return "", ""
    return name, version


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _why_not_writable(folder: Path) -> str | None:
    """Make the folder and write into it; the system's words where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{os.getpid()}.part"
        part.write_bytes(b"x")
        part.unlink(missing_ok=True)  # another session may have tidied up
    except OSError as error:
        return None if error.errno == errno.ENOSPC else error.strerror or str(error)
    return None
