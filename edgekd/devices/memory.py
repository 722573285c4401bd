"""Resident memory of this very process, from Linux's /proc.

``VmRSS`` and its high-water mark ``VmHWM`` come from the same counters, so their difference is
exact although either may lag by some pages (proc(5)).
"""

from pathlib import Path
from typing import Final

from edgekd.errors import DeviceError

_STATUS: Final = Path("/proc/self/status")
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_RESET_PEAK: Final = "5"  # proc(5): resets VmHWM to the current VmRSS


def resident_bytes() -> int:
    """Memory of the process that is in RAM now.

    Raises:
        DeviceError: If the system has no /proc to read it from.
    """
    return _field("VmRSS")


def peak_resident_bytes() -> int:
    """The most that was in RAM since the start, or since :func:`reset_peak`.

    Raises:
        DeviceError: If the system has no /proc to read it from.
    """
    return _field("VmHWM")


def reset_peak() -> bool:
    """Start a new high-water mark; ``False`` where the kernel does not permit it."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


def _field(name: str) -> int:
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError as error:
        raise DeviceError(f"{_STATUS} cannot be read; peak memory needs Linux") from error
    for line in lines:
        key, _, value = line.partition(":")
        if key == name:
            return int(value.removesuffix("kB")) * 1024
    raise DeviceError(f"{_STATUS} has no {name}; peak memory needs Linux")
