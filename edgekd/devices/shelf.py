"""What a board keeps between two benches: files by their hash, and environments made of wheels.

Standard library only: a part of the agent (:mod:`edgekd.devices.agent`). All of it is in one
folder of the user's, everything in it is whole or absent, and nothing needs root.
"""

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from edgekd.devices.unpack import WheelError, unpack_wheel

LOCK_FILE: Final = "lock"

_SITE_FILE: Final = "site.json"
_PASSING: Final = ("job", "passing")  # of one session
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class RefusalError(Exception):
    """A request that cannot be met; ``kind`` tells the host which advice fits."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def refusal_of(error: OSError) -> RefusalError:
    """What the system refused, as the host is told."""
    if isinstance(error, WheelError):
        return RefusalError("wheel", str(error))
    return RefusalError("full" if error.errno in _FULL else "system", str(error))


class Shelf:
    """The folder.

    Args:
        folder: Made when something is put there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def site(self, name: str) -> Path:
        """Where an environment is.

        Raises:
            RefusalError: If the name is not one of an environment.
        """
        if not name.isalnum():
            raise RefusalError("name", f"{name!r} is not the name of an environment")
        return self.folder / "sites" / name

    def object(self, name: str) -> Path:
        """Where a file is: named by its sha256 and a suffix that tells what it is.

        Raises:
            RefusalError: If the name is not such a one.
        """
        digest, _, suffix = name.partition(".")
        if len(digest) != 64 or not digest.isalnum() or not (suffix or "x").isalnum():
            raise RefusalError("name", f"{name!r} is not the name of an object")
        return self.folder / "objects" / name

    def passing(self, name: str) -> Path:
        """Where a file is that goes with the session; named like an object.

        Raises:
            RefusalError: If the name is not such a one.
        """
        return self.folder / "passing" / self.object(name).name

    def job_file(self, name: str) -> Path:
        """Where a file of the running job is.

        Raises:
            RefusalError: If the name could lead elsewhere.
        """
        if not name.replace(".", "").isalnum():
            raise RefusalError("name", f"{name!r} is not the name of a job's file")
        return self.folder / "job" / name

    def tidy(self, *, begin: bool) -> None:
        """Remove what a session left in the middle of its work; ``begin`` another one."""
        for part in self.folder.glob("*.part"):
            _remove(part)
        for name in _PASSING:
            shutil.rmtree(self.folder / name, ignore_errors=True)
        if begin:
            for name in (*_PASSING, "objects", "sites"):
                (self.folder / name).mkdir(exist_ok=True)

    def empty(self) -> None:
        """Remove everything but the lock, which is held."""
        for entry in self.folder.iterdir():
            if entry.name != LOCK_FILE:
                _remove(entry)

    def is_whole(self, name: str) -> bool:
        """Whether a file is here and is what its name says; a broken one is removed."""
        path = self.object(name)
        if not path.is_file():
            return False
        if sha256_of(path) == name.partition(".")[0]:
            return True
        path.unlink()
        return False

    def put(self, name: str, blocks: Iterable[bytes], *, passing: bool = False) -> None:
        """Keep bytes, if they have the hash they are named by.

        Args:
            name: Of the object.
            blocks: The bytes.
            passing: Whether they go with the session.

        Raises:
            OSError: If the disk is full.
            RefusalError: If they have another hash.
        """
        part = self.folder / f"{os.getpid()}.part"
        path = self.passing(name) if passing else self.object(name)
        digest = hashlib.sha256()
        try:
            with part.open("wb") as file:
                for block in blocks:
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != name.partition(".")[0]:
                raise RefusalError("hash", f"{name} arrived as {digest.hexdigest()}")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def sites(self) -> dict[str, Any]:
        """Every complete environment: its name and what it was made from."""
        found = {}
        for path in self.folder.glob(f"sites/*/{_SITE_FILE}"):
            try:
                found[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):  # cut short by a power failure: made again
                _remove(path.parent)
        return found

    def make_site(
        self,
        name: str,
        *,
        wheels: Sequence[Mapping[str, str]],
        python: Sequence[int],
        imports: Sequence[str],
        program: str,
    ) -> None:
        """Unpack wheels into a folder of their own, import what they are for, and keep it.

        Args:
            name: Of the environment.
            wheels: ``file``, the wheel's own name, and ``object``, its name here.
            python: Major and minor version.
            imports: Modules of the runner that the environment is for.
            program: The object that is the runner.

        Raises:
            OSError: If the disk is full or a wheel is damaged.
            RefusalError: If a wheel is not what was sent, or an import fails.
        """
        part = self.folder / f"site-{os.getpid()}.part"
        site = self.site(name)
        try:
            for wheel in wheels:
                if not self.is_whole(wheel["object"]):
                    raise RefusalError("hash", f"{wheel['file']} is not what was sent")
                unpack_wheel(self.object(wheel["object"]), part)
            _try_imports(part, self.object(program), imports)
            content = {"wheels": wheels, "python": python, "imports": imports}
            (part / _SITE_FILE).write_text(json.dumps(content), encoding="utf-8")
            _remove(site)
            part.rename(site)
        finally:
            _remove(part)
            for wheel in wheels:
                self.object(wheel["object"]).unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _try_imports(site: Path, program: Path, names: Sequence[str]) -> None:
    """Import what an environment is for, in a process of its own: it may crash."""
    paths = [str(program), str(site)]
    lines = f"import sys; sys.path[:0] = {paths!r}; import {', '.join(names)}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", lines],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [""]
        how = f"ended by signal {-done.returncode}" if done.returncode < 0 else said[-1]
        raise RefusalError("imports", f"{', '.join(names)} cannot be imported there ({how[:300]})")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
