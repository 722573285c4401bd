"""Devices by name, and the protocol they share."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, cast

from edgekd.console import Console
from edgekd.devices import local
from edgekd.devices.address import Address
from edgekd.devices.board import open_board
from edgekd.devices.book import LOCAL, find_entry
from edgekd.devices.job import Job, Latencies, Outcome
from edgekd.records import DeviceInfo


class Device(Protocol):
    """What measures: a module or an object with these functions."""

    def describe(self) -> DeviceInfo:
        """The device and its state."""

    def cpu_flags(self) -> Collection[str]:
        """What its processor can do, in its kernel's words."""

    def runtime_version(self, model_format: str) -> str:
        """Of what runs files of a format there."""

    def measure(self, job: Job, *, watch: Callable[[Mapping[str, Any]], None]) -> Outcome:
        """Run one job in a fresh process on the device; its paths are of this machine."""

    def race(
        self, files: Sequence[Path], *, num_threads: int, seconds: float
    ) -> tuple[Latencies | None, ...]:
        """Time files of one format against each other in one process on the device."""


THIS_MACHINE: Final = cast(Device, local)
"""``local`` as a device."""


def require_known(name: str) -> None:
    """Refuse a name that is no device's; nothing is connected to.

    Raises:
        ConfigError: If a devices file is damaged.
        DeviceError: If the device is unknown.
    """
    if name != LOCAL:
        find_entry(name)


@contextmanager
def open_device(name: str, console: Console, *, wheels: Path | None = None) -> Iterator[Device]:
    """The device of a name, ready to measure; a board stays connected meanwhile.

    Args:
        name: ``local``, or a board of the devices files.
        console: Told what is fetched and sent.
        wheels: A folder of wheels for boards, in place of the package index.

    Raises:
        ConfigError: If a devices file is damaged.
        DeviceError: If the device is unknown, cannot be reached, or will not do.
    """
    if name == LOCAL:
        yield THIS_MACHINE
        return
    with open_board(Address(name, find_entry(name)), console, wheels=wheels) as board:
        yield board
