"""What ``edgekd devices check`` finds out about a board, in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgekd.console import Console
from edgekd.devices.address import Address
from edgekd.devices.board import open_board
from edgekd.devices.book import LOCAL, find_entry
from edgekd.devices.local import describe
from edgekd.devices.provision import Board, look_at, obstacles
from edgekd.devices.session import Session
from edgekd.errors import DeviceError, UsageError
from edgekd.runtimes.session import RUNTIMES

_SHOWN: Final[Mapping[str, str]] = {
    "board": "board",
    "cpu": "processor",
    "arch": "architecture",
    "cpu_count": "usable cores",
    "memory_bytes": "memory",
    "os": "system",
    "kernel": "kernel",
    "python": "Python",
    "governor": "governor",
    "frequency_mhz": "frequency",
    "temperature_c": "temperature",
    "throttled": "throttled",
    "load_average": "load",
}
_UNITS: Final[Mapping[str, str]] = {
    "frequency_mhz": "{:.0f} MHz",
    "temperature_c": "{:.1f} °C",
    "load_average": "{:.2f}",
}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What a device is, and what keeps it from measuring."""

    name: str
    device: Mapping[str, Any]
    lines: tuple[tuple[str, str], ...]
    obstacles: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.device, "name": self.name, "obstacles": list(self.obstacles)}

    def complain(self) -> None:
        """Refuse a device that will not do.

        Raises:
            DeviceError: With everything that is in the way.
        """
        if self.obstacles:
            raise DeviceError(f"{self.name}: {'; '.join(self.obstacles)}")


def check(name: str, console: Console, *, install: bool, wheels: Path | None) -> Findings:
    """Look at a device.

    Args:
        name: Which one.
        console: Told what is fetched and sent.
        install: Whether to send the runtimes there and import them.
        wheels: A folder of wheels in place of the package index.

    Raises:
        ConfigError: If a devices file is damaged.
        DeviceError: If it is unknown or cannot be reached, or with ``install`` will not do.
    """
    if name == LOCAL:
        device = describe().model_dump()
        return Findings(name=name, device=device, lines=_lines(device), obstacles=())
    address = Address(name, find_entry(name))
    with Session(address) as session:
        board = look_at(session, name, address.entry.folder)
    if install and not obstacles(board):
        with open_board(address, console, wheels=wheels) as device_there:
            for model_format, entry in RUNTIMES.items():
                if entry.extra == "bench":
                    device_there.install(model_format)
    return _of_board(board)


def clean(name: str, console: Console) -> str:
    """Remove all that edgekd keeps on a board; returns the folder.

    Raises:
        DeviceError: If it cannot be reached, or another host measures there.
        UsageError: If it is this machine.
    """
    if name == LOCAL:
        raise UsageError("local keeps nothing; clean is for boards")
    with open_board(Address(name, find_entry(name)), console) as board:
        return board.clean()


def _of_board(board: Board) -> Findings:
    more = (
        ("C library", " ".join(board.libc).strip() or "not glibc"),
        ("edgekd's folder", f"{board.folder}, {board.free_bytes / 1e9:.1f} GB free"),
    )
    missing = obstacles(board)
    verdict = (("verdict", "; ".join(missing) or "can measure ONNX and TFLite files"),)
    return Findings(
        name=board.name,
        device={
            **board.device,
            "bits": board.bits,
            "libc": " ".join(board.libc).strip() or None,
            "folder": board.folder,
            "free_bytes": board.free_bytes,
        },
        lines=(*_lines(board.device), *more, *verdict),
        obstacles=tuple(missing),
    )


def _lines(device: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    found = []
    for key, heading in _SHOWN.items():
        value = device[key]
        if value is None:
            text = f"unknown: {device['unknown'].get(key, 'it does not say')}"
        elif key == "memory_bytes":
            text = f"{value / 1e9:.1f} GB"
        else:
            text = _UNITS.get(key, "{}").format(value)
        found.append((heading, text))
    if device["emulated"]:
        found.append(("emulated", "yes: another processor plays this one; times mean nothing"))
    return tuple(found)
