"""Files on their way to a board: each travels once and is named there by its hash."""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from edgekd.devices.session import Session

_MOST_LENT_BYTES: Final = 1 << 30  # a search makes hundreds of files, and cards are small


class Courier:
    """What one session has brought to a board.

    Args:
        session: Holds the board's lock.
        folder: Of edgekd, on the board.
    """

    def __init__(self, session: Session, folder: str) -> None:
        self._session = session
        self._folder = folder
        self._sent: dict[tuple[str, int, int], str] = {}
        self._lent: dict[str, int] = {}  # name to size, those asked for last are last

    def send(self, path: Path, suffix: str) -> str:
        """Put a file there, unless it is; it stays. Returns its path there.

        Raises:
            DeviceError: If the connection ended.
            RefusedError: If the board has no room for it.
        """
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        if key not in self._sent:
            name = _name_of(path, suffix)
            if not self._session.ask("have", names=[name])["names"]:
                self._session.put(name, path)
            self._sent[key] = name
        return f"{self._folder}/objects/{self._sent[key]}"

    def send_bytes(self, content: bytes, suffix: str) -> str:
        """Put bytes there, unless they are; they stay. Returns their name.

        Raises:
            DeviceError: If the connection ended.
            RefusedError: If the board has no room for them.
        """
        name = f"{hashlib.sha256(content).hexdigest()}.{suffix}"
        if not self._session.ask("have", names=[name])["names"]:
            self._session.put_bytes(name, content)
        return name

    def lend(self, paths: Sequence[Path], suffix: str) -> list[str]:
        """Put files there that are gone when the session is. Returns their paths there.

        Those not asked for the longest go earlier where there are very many of them.

        Raises:
            DeviceError: If the connection ended.
            RefusedError: If the board has no room for one.
        """
        names = [_name_of(path, suffix) for path in paths]
        for path, name in zip(paths, names, strict=True):
            size = self._lent.pop(name, None)
            if size is None:
                self._session.put(name, path, passing=True)
                size = path.stat().st_size
            self._lent[name] = size
        self._take_back(set(names))
        return [f"{self._folder}/passing/{name}" for name in names]

    def _take_back(self, wanted: Collection[str]) -> None:
        total = sum(self._lent.values())
        dropped = []
        for name in [name for name in self._lent if name not in wanted]:
            if total <= _MOST_LENT_BYTES:
                break
            total -= self._lent.pop(name)
            dropped.append(name)
        if dropped:
            self._session.ask("drop", names=dropped)


def _name_of(path: Path, suffix: str) -> str:
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}.{suffix}"
