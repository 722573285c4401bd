"""The 8-bit types that ONNX Runtime's kernels like, which differ between processors."""

import platform
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from edgekd.devices.probe import cpu_flags
from edgekd.export.quantization.recipe import Processor, Range

_ARM: Final = ("aarch64", "arm64")
_VNNI: Final = frozenset({"avx512_vnni", "avx_vnni"})


@dataclass(frozen=True, kw_only=True)
class OnnxTypes:
    """Number types that suit a processor; figures in the table below."""

    signed: bool
    """S8 activations instead of U8."""
    weight_bits: Literal[7, 8]
    note: str

    def activation(self, limits: Range) -> tuple[np.float32, Any]:
        """Scale and zero point of an activation; the range is widened to hold 0.

        >>> scale, zero = TYPES["x86"].activation((-1.0, 4.1))
        >>> round(float(scale), 4), int(zero)
        (0.02, 50)
        """
        low, high = min(limits[0], 0.0), max(limits[1], 0.0)
        scale = np.float32(max((high - low) / 255, 1e-8))
        zero = int(np.clip(np.rint(-low / float(scale)), 0, 255))
        return scale, np.int8(zero - 128) if self.signed else np.uint8(zero)


TYPES: Final[Mapping[Processor, OnnxTypes]] = {
    # On x86 signed activations leave the fast kernels: 2.6 times slower on a ResNet-20.
    "x86-vnni": OnnxTypes(signed=False, weight_bits=8, note="U8 activations, S8 weights"),
    # Without VNNI two products are added in 16 bits, which saturate unless weights have 7 bits.
    "x86": OnnxTypes(signed=False, weight_bits=7, note="U8 activations, 7-bit S8 weights"),
    "arm": OnnxTypes(signed=True, weight_bits=8, note="S8 activations, S8 weights"),
}


def processor_of(arch: str, flags: Collection[str]) -> Processor:
    """Which of the int8 kernel families a machine has.

    Args:
        arch: As ``uname`` calls it.
        flags: What its kernel says that the processor can do.

    >>> processor_of("aarch64", ["asimddp"]), processor_of("x86_64", ["avx2", "avx_vnni"])
    ('arm', 'x86-vnni')
    """
    if arch.lower() in _ARM:
        return "arm"
    return "x86" if _VNNI.isdisjoint(flags) else "x86-vnni"


def this_processor() -> Processor:
    """Which of the int8 kernel families this machine has."""
    return processor_of(platform.machine(), cpu_flags())
