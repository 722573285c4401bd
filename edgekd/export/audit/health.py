"""What can go wrong in an int8 file while it runs, looked for before it is shipped."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.runtimes.session import format_of

_LARGEST_SUM: Final = 2**31 - 1
_LARGEST_STEP: Final = 255  # |q - zero_point| of an 8-bit activation
_SMALLEST_NORMAL: Final = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """A convolution or matrix product with 8-bit weights.

    Attributes:
        name: Of its weights.
        weights: int8, ``(channels, n)``.
        bias: int32, ``(channels,)``, in steps of the products; ``None`` where there is none.
        sums_in_int32: Whether it is computed in integers.
    """

    name: str
    weights: NDArray[np.int8]
    bias: NDArray[np.int32] | None
    sums_in_int32: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantized:
    """All of a file that is quantized.

    Attributes:
        scales: Tensor to its scales, one or one per channel.
        layers: In order of execution.
    """

    scales: Mapping[str, NDArray[np.floating]]
    layers: tuple[Layer, ...]


def check_health(path: Path) -> dict[str, int]:
    """Refuse a file that divides by zero or overflows, and count what is dead in it.

    Args:
        path: A ``.onnx`` or ``.tflite`` file that edgekd wrote.

    Returns:
        Weights to the number of their output channels that are all zero, where there are some.

    Raises:
        ExportError: If a scale is zero or no normal number, or a sum can leave 32 bits.
    """
    if format_of(path) == "onnx":
        from edgekd.export.audit.onnx_health import quantized_onnx

        found = quantized_onnx(path)
    else:
        from edgekd.export.audit.tflite_health import quantized_tflite

        found = quantized_tflite(path)
    check_scales(found.scales, path.name)
    check_sums(found.layers, path.name)
    return dead_channels(found.layers)


def check_scales(scales: Mapping[str, NDArray[np.floating]], file: str) -> None:
    """Kernels divide by scales: each has to be a normal number above zero.

    Raises:
        ExportError: If one is not.
    """
    for name, values in scales.items():
        good = np.isfinite(values) & (values >= _SMALLEST_NORMAL)
        if not good.all():
            raise ExportError(
                f"{file}: {name!r} has the scale {float(values[~good].flat[0]):g}, and kernels "
                "divide by it; calibrate with other or more samples, or take --int8 weights"
            )


def check_sums(layers: Iterable[Layer], file: str) -> None:
    """The largest sum that any input can lead to has to fit 32 bits.

    Raises:
        ExportError: If one does not.
    """
    for layer in layers:
        if not layer.sums_in_int32:
            continue
        largest = _LARGEST_STEP * np.abs(layer.weights.astype(np.int64)).sum(axis=1)
        if layer.bias is not None:
            largest = largest + np.abs(layer.bias.astype(np.int64))
        if largest.size and largest.max() > _LARGEST_SUM:
            raise ExportError(
                f"{file}: sums of {layer.name!r} can reach {int(largest.max()):,}, beyond 32 bits; "
                "its weights or its bias are too large for int8: take --int8 weights"
            )


def dead_channels(layers: Iterable[Layer]) -> dict[str, int]:
    """Weights to the number of output channels in which every weight is zero.

    >>> weights = np.int8([[0, 0], [1, 0], [0, 0]])
    >>> layer = Layer(name="conv", weights=weights, bias=None, sums_in_int32=True)
    >>> dead_channels([layer])
    {'conv': 2}
    """
    counts = {layer.name: int((layer.weights == 0).all(axis=1).sum()) for layer in layers}
    return {name: count for name, count in counts.items() if count}
