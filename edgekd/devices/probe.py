"""The state of the machine this process runs on, read from /proc and /sys.

What cannot be read is ``None``, never guessed. Standard library only: it runs on boards too.
"""

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path("/")
_ARM: Final = ("aarch64", "arm")
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


_SOURCES: Final[Mapping[str, str]] = {
    "board": "/proc/device-tree/model and /sys/class/dmi/id say nothing",
    "cpu": "/proc/cpuinfo names no model",
    "os": "there is no os-release file",
    "kernel": "uname says nothing",
    "memory_bytes": "/proc/meminfo has no MemTotal",
    "governor": "no cpufreq of cpu0 in /sys",
    "frequency_mhz": "neither cpufreq of cpu0 in /sys nor a frequency in /proc/cpuinfo",
    "temperature_c": "no thermal zone in /sys",
    "throttled": "neither vcgencmd nor a throttle counter in /sys",
    "load_average": "/proc/loadavg cannot be read",
}
"""Field -> why it is ``None``."""


def probe(root: Path = _ROOT) -> dict[str, Any]:
    """What a ``DeviceInfo`` holds but its name and runtime versions.

    Args:
        root: Where ``proc`` and ``sys`` are mounted; another folder in tests.
    """
    cpuinfo = _cpuinfo(root)
    arch = platform.machine()
    found = {
        "board": _board(root),
        "cpu": next((cpuinfo[key] for key in _CPU_KEYS if key in cpuinfo), None),
        "arch": arch,
        "os": _os_name(),
        "kernel": platform.release() or None,
        "python": platform.python_version(),
        "cpu_count": len(os.sched_getaffinity(0)),
        "memory_bytes": _memory_bytes(root),
        **state(root),
        "emulated": _is_emulated(root, arch, cpuinfo),
    }
    unknown = {key: why for key, why in _SOURCES.items() if found[key] is None}
    return {**found, "unknown": unknown}


def state(root: Path = _ROOT) -> dict[str, Any]:
    """What changes from one moment to the next: a ``MachineState`` as plain values."""
    return {
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "frequency_mhz": frequency_mhz(root),
        "temperature_c": temperature_c(root),
        "throttled": _throttled(root),
        "load_average": _load_average(),
    }


def busy_seconds(root: Path = _ROOT) -> float | None:
    """Time all cores together have worked since boot, in seconds; in steps of about 10 ms."""
    first = (_text(root / "proc/stat") or "").partition("\n")[0].split()
    if len(first) < 9 or first[0] != "cpu":
        return None
    # proc(5): user nice system idle iowait irq softirq steal; guest is part of user
    user, nice, system, _, _, irq, softirq, _ = (int(ticks) for ticks in first[1:9])
    return float(user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def cpu_flags(root: Path = _ROOT) -> list[str]:
    """What the processor can do, in the kernel's words, sorted; empty where it names nothing.

    Args:
        root: Where ``proc`` is mounted; another folder in tests.
    """
    cpuinfo = _cpuinfo(root)  # x86 and Arm have words of their own for the line itself
    return sorted((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())


def frequency_mhz(root: Path = _ROOT) -> float | None:
    """Of the first core, at this moment."""
    khz = _number(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
    if khz is not None:
        return khz / 1000
    try:
        return float(_cpuinfo(root)["cpu MHz"])
    except (KeyError, ValueError):
        return None


def temperature_c(root: Path = _ROOT) -> float | None:
    """The hottest thermal zone."""
    zones = sorted(root.glob("sys/class/thermal/thermal_zone*/temp"))
    millidegrees = [value for zone in zones if (value := _number(zone)) is not None]
    return max(millidegrees) / 1000 if millidegrees else None


def _is_emulated(root: Path, arch: str, cpuinfo: Mapping[str, str]) -> bool:
    """Whether an Arm system runs on another processor's kernel, as under QEMU's user mode.

    Either the kernel says so itself (Linux 6.1 and later) or /proc/cpuinfo is an x86 one.
    """
    if not arch.startswith(_ARM):
        return False
    kernel = _text(root / "proc/sys/kernel/arch")
    return "vendor_id" in cpuinfo or (kernel is not None and not kernel.startswith(_ARM))


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


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


def _throttled(root: Path) -> str | None:
    """Plain words for the Raspberry Pi's firmware flags, or the x86 counter since boot."""
    flags = _text(root / "sys/devices/platform/soc/soc:firmware/get_throttled")
    if flags is None and root == _ROOT:
        flags = (vcgencmd("get_throttled") or "").strip().removeprefix("throttled=") or None
    if flags is not None:
        return _raspberry_flags(flags)
    count = _number(root / "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count")
    if count is None:
        return None
    return f"{count:.0f} times since boot" if count else "no"


def vcgencmd(command: str) -> str | None:
    """What the Raspberry Pi's firmware answers; ``None`` on other boards."""
    try:
        done = subprocess.run(  # one fixed program and no text of a user's
            ["vcgencmd", command],  # noqa: S607 - it lies in different folders
            capture_output=True,
            text=True,
            errors="replace",
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _raspberry_flags(text: str) -> str | None:
    try:
        bits = int(text, 16)
    except ValueError:
        return None
    said = [words for bit, words in _RASPBERRY_FLAGS.items() if bits >> bit & 1]
    return ", ".join(said) if said else "no"
