"""The table of devices, and the protocol they share."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast

from edgekd.devices import local
from edgekd.devices.job import Job, Outcome
from edgekd.errors import DeviceError
from edgekd.records import DeviceInfo


class Device(Protocol):
    """What measures: a module (or object) with these two functions."""

    def describe(self) -> DeviceInfo:
        """The device and its state at the moment."""

    def measure(self, job: Job, *, watch: Callable[[Mapping[str, Any]], None]) -> Outcome:
        """Run one job in a fresh process on the device."""


DEVICES: Final[Mapping[str, Device]] = {local.NAME: cast(Device, local)}
"""Name -> device. To add one: its file, a line, its test."""


def find_device(name: str) -> Device:
    """The device of a name.

    Raises:
        DeviceError: If this edgekd does not measure there.
    """
    device = DEVICES.get(name)
    if device is None:
        raise DeviceError(
            f"unknown device {name!r}: this edgekd measures on {', '.join(DEVICES)} only, "
            "the machine it runs on; run edgekd bench on that machine itself "
            "(pip install 'edgekd[bench]', no torch needed)"
        )
    return device
