"""What edgekd can use of a machine beside Python packages: programs, and a GPU."""

import ctypes
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_PROGRAMS: Final = (
    ("ssh", "ssh", "only for --device and edgekd devices"),
    ("QEMU", "qemu-aarch64-static", "only for edgekd devices emulate"),
)
_DRIVER: Final = "libcuda.so.1"


@dataclass(frozen=True, kw_only=True)
class Tool:
    """Something outside Python; ``found`` says what is there, ``None`` that nothing is."""

    name: str
    found: str | None
    used_for: str


def tools(torch_version: str | None) -> Iterator[Tool]:
    """Look for every tool; none of them is needed on every machine.

    Args:
        torch_version: Of the installed torch, which decides whether a GPU can be used.
    """
    for name, program, used_for in _PROGRAMS:
        yield Tool(name=name, found=shutil.which(program), used_for=used_for)
    yield Tool(
        name="GPU",
        found=_gpus(torch_version),
        used_for="only to train faster; everything works without",
    )


def _gpus(torch_version: str | None) -> str | None:
    """How many GPUs torch can be expected to use, from its build and the driver; not imported."""
    if torch_version is None or "+cpu" in torch_version:
        return None
    count = _count_devices()
    return f"{count} CUDA device(s)" if count else None


def _count_devices() -> int:
    """As NVIDIA's driver counts them; 0 without a driver.

    Source:
        CUDA Driver API, ``cuInit`` and ``cuDeviceGetCount``: both answer 0 for success.
    """
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value
