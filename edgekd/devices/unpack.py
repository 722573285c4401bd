"""A wheel unpacked into a folder, as hostile as its archive may be. Standard library only.

A wheel is a zip of what an installation holds (binary distribution format, PyPA specifications):
with no scripts to run, unpacking it is installing it, and neither pip nor a venv is needed.
"""

import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

_MOST_BYTES: Final = 4 << 30  # no runtime is larger; a bomb is
_MOST_FILES: Final = 100_000


class WheelError(OSError):
    """An archive that is not a wheel one may unpack."""


def unpack_wheel(wheel: Path, site: Path) -> None:
    """Put a wheel's modules into ``site``; its scripts, headers and data files are left out.

    Raises:
        OSError: If the disk is full.
        WheelError: If it is no zip, or a name in it leads outside, is a link, or unpacks to more
            than any wheel.
    """
    site.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = archive.infolist()
            if len(members) > _MOST_FILES or sum(m.file_size for m in members) > _MOST_BYTES:
                raise WheelError("the archive unpacks to more than any wheel")
            for member in members:
                target = _target(member)
                if target is not None:
                    _write(archive, member, site / target)
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise WheelError(f"the archive is damaged ({error})") from error


def _target(member: zipfile.ZipInfo) -> PurePosixPath | None:
    """Where a member goes below the folder; ``None`` for what is not installed."""
    path = PurePosixPath(member.filename)
    if stat.S_ISLNK(member.external_attr >> 16):
        raise WheelError(f"{member.filename!r} is a link")
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
        raise WheelError(f"{member.filename!r} leads outside of it")
    if member.is_dir() or not path.parts:
        return None
    if path.parts[0].endswith(".data"):
        if len(path.parts) < 3 or path.parts[1] not in ("purelib", "platlib"):
            return None
        return PurePosixPath(*path.parts[2:])
    return path


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # zipfile reads no more than the size the archive declares and checks its sum.
    with archive.open(member) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)
