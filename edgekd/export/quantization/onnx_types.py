"""The 8-bit types that this machine's ONNX Runtime kernels like."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from edgekd.export.quantization.recipe import Range

Processor = Literal["arm", "x86-vnni", "x86"]


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


def this_processor() -> Processor:
    """Which of the int8 kernel families this machine has."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "arm"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "x86"
    return "x86-vnni" if "avx512_vnni" in flags or "avx_vnni" in flags else "x86"
