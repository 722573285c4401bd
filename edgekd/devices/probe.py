"""The state of the machine this process runs on, read from /proc and /sys.

What cannot be read is ``None``, never guessed. Standard library only: it runs on boards too.
"""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path("/")
_CPU_KEYS: Final = ("model name", "Model")  # x86 and many Arm kernels; the board's name on others
_RASPBERRY_FLAGS: Final = {
    # Raspberry Pi documentation, "vcgencmd get_throttled": bits of the present and of the past
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since boot",
    17: "frequency capped since boot",
    18: "throttled since boot",
    19: "soft temperature limit since boot",
}


def probe(root: Path = _ROOT) -> dict[str, Any]:
    """What a ``DeviceInfo`` holds but its name and runtime versions.

    Args:
        root: Where ``proc`` and ``sys`` are mounted; another folder in tests.
    """
    cpuinfo = _cpuinfo(root)
    arch = platform.machine()
    return {
        "board": _board(root),
        "cpu": next((cpuinfo[key] for key in _CPU_KEYS if key in cpuinfo), None),
        "arch": arch,
        "os": _os_name(),
        "kernel": platform.release() or None,
        "python": platform.python_version(),
        "cpu_count": len(os.sched_getaffinity(0)),
        "memory_bytes": _memory_bytes(root),
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "frequency_mhz": _frequency_mhz(root, cpuinfo),
        "temperature_c": _temperature_c(root),
        "throttled": _throttled(root),
        "load_average": os.getloadavg()[0],
        # An Arm system whose /proc/cpuinfo is an x86 one runs under user-mode emulation.
        "emulated": arch in ("aarch64", "armv7l") and "vendor_id" in cpuinfo,
    }


def _text(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # absent, or readable by root only: unknown
        return None
    return text.strip().strip("\0") or None


def _number(path: Path) -> float | None:
    text = _text(path)
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _cpuinfo(root: Path) -> Mapping[str, str]:
    """The first value of every key; later ones repeat it for further cores."""
    found: dict[str, str] = {}
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        key, separator, value = line.partition(":")
        if separator and value.strip():
            found.setdefault(key.strip(), value.strip())
    return found


def _board(root: Path) -> str | None:
    device_tree = _text(root / "proc/device-tree/model")
    if device_tree is not None:
        return device_tree
    names = [_text(root / f"sys/class/dmi/id/{key}") for key in ("sys_vendor", "product_name")]
    return " ".join(name for name in names if name) or None


def _os_name() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _memory_bytes(root: Path) -> int | None:
    for line in (_text(root / "proc/meminfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key == "MemTotal":
            return int(value.removesuffix("kB")) * 1024
    return None


def _frequency_mhz(root: Path, cpuinfo: Mapping[str, str]) -> float | None:
    """Of the first core, at this moment."""
    khz = _number(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    if khz is not None:
        return khz / 1000
    try:
        return float(cpuinfo["cpu MHz"])
    except (KeyError, ValueError):
        return None


def _temperature_c(root: Path) -> float | None:
    """The hottest thermal zone."""
    zones = sorted(root.glob("sys/class/thermal/thermal_zone*/temp"))
    millidegrees = [value for zone in zones if (value := _number(zone)) is not None]
    return max(millidegrees) / 1000 if millidegrees else None


def _throttled(root: Path) -> str | None:
    """Plain words for the Raspberry Pi's firmware flags, or the x86 counter since boot."""
    flags = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if flags is not None:
        return _raspberry_flags(flags)
    count = _number(root / "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count")
    if count is None:
        return None
    return f"{count:.0f} times since boot" if count else "no"


def _raspberry_flags(text: str) -> str | None:
    try:
        bits = int(text, 16)
    except ValueError:
        return None
    said = [words for bit, words in _RASPBERRY_FLAGS.items() if bits >> bit & 1]
    return ", ".join(said) if said else "no"
