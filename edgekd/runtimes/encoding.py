"""From decoded samples to a file's input tensors, and from its outputs to float32 logits.

The encode half of the preprocessing: ``x = (pixel / 255 - mean) / std`` for images and
``x = (value - mean) / std`` for sensor windows, then the file's layout and number type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import BundleError, DataError

Array = NDArray[Any]

_AXES: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    # kind -> layout -> how the axes of a decoded sample are permuted into it
    "image": {"NHWC": (0, 1, 2, 3), "NCHW": (0, 3, 1, 2)},
    "signal": {"NCT": (0, 1, 2), "NTC": (0, 2, 1)},
}
FLOATS: Final = ("float32", "float16")
"""Types that take normalised values as they are."""
_IMAGE_CHANNELS: Final = (1, 3)


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """One input or output as the runtime sees it: ``real = scale * (q - zero_point)``."""

    name: str
    shape: tuple[int | None, ...]
    """``None`` is a dynamic axis."""
    dtype: str
    layout: str | None = None
    """``NCHW`` or ``NHWC`` where the shape tells, else ``None``."""
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, kw_only=True)
class InputEncoding:
    """How one decoded sample becomes one input tensor.

    ``raw`` files carry the normalisation inside the graph and take uint8 pixels as they are.
    """

    name: str
    kind: Literal["image", "signal"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layout: str
    raw: bool = False
    clip: float | None = None
    """Limit of a sensor's normalised values, in standard deviations."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for a job file."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "InputEncoding":
        """The inverse of :meth:`to_json`."""
        values = {**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])}
        return cls(**values)


def layout_of(shape: Sequence[int | None]) -> str | None:
    """``NCHW`` or ``NHWC`` of an image tensor, or ``None`` where its shape does not tell.

    >>> layout_of((1, 3, 32, 32)), layout_of((1, 32, 32, 3)), layout_of((1, 3, 8, 3))
    ('NCHW', 'NHWC', None)
    """
    if len(shape) != 4:
        return None
    first, last = shape[1] in _IMAGE_CHANNELS, shape[3] in _IMAGE_CHANNELS
    if first == last:
        return None
    return "NCHW" if first else "NHWC"


def encode_samples(
    inputs: Sequence[TensorInfo],
    encodings: Sequence[InputEncoding],
    samples: Sequence[Array],
    *,
    source: str,
) -> dict[str, Array]:
    """Every input tensor of a file by name, from one array of decoded samples per encoding.

    Raises:
        BundleError: If the file's inputs are not those the encodings describe.
    """
    infos = match_inputs(inputs, encodings, source=source)
    return {
        info.name: encode_input(values, info, encoding, source=source)
        for info, encoding, values in zip(infos, encodings, samples, strict=True)
    }


def match_inputs(
    inputs: Sequence[TensorInfo], encodings: Sequence[InputEncoding], *, source: str
) -> tuple[TensorInfo, ...]:
    """The file's input of each encoding: by name, or by being the only one.

    Raises:
        BundleError: If the numbers differ, or one of several names is not in the file.
    """
    if len(inputs) != len(encodings):
        raise BundleError(
            f"{source}: takes {len(inputs)} inputs, its record describes {len(encodings)}; "
            "export it again"
        )
    if len(inputs) == 1:
        return tuple(inputs)
    by_name = {info.name: info for info in inputs}
    missing = [encoding.name for encoding in encodings if encoding.name not in by_name]
    if missing:
        raise BundleError(f"{source}: has no input {missing[0]!r}, only {sorted(by_name)}")
    return tuple(by_name[encoding.name] for encoding in encodings)


def encode_input(
    values: Array, info: TensorInfo, encoding: InputEncoding, *, source: str = "the file"
) -> Array:
    """Decoded samples as one input tensor of the file.

    Args:
        values: uint8 ``(n, H, W, C)`` for images, float32 ``(n, C, T)`` for sensor windows.
        info: What the file takes; integers are quantized with its scale and zero point.
        encoding: Normalisation and layout.
        source: How to name the file in an error.

    Returns:
        Contiguous, in the file's layout and type; shape as ``info.shape`` with n samples.

    Raises:
        BundleError: If layout, type or shape of the file contradict the encoding.
        DataError: If a sensor's value is NaN or infinite.
    """
    axes = axes_of(encoding, source)
    if encoding.kind == "signal" and not np.isfinite(values).all():
        raise DataError(
            f"{encoding.name}: NaN or infinity among the values; a sensor that is missing is fed "
            "as its mean, which the record of the file holds"
        )
    encoded = values if encoding.raw else _normalise(values, encoding)
    encoded = np.ascontiguousarray(_as_type(encoded.transpose(axes), info, encoding, source))
    if len(encoded.shape) != len(info.shape) or any(
        want not in (None, have)
        for have, want in zip(encoded.shape[1:], info.shape[1:], strict=True)
    ):
        raise BundleError(
            f"{source}: takes {info.shape}, its record makes {encoded.shape}; export it again"
        )
    return encoded


def decode_output(output: Array, info: TensorInfo) -> NDArray[np.float32]:
    """An output as float32 ``(n, K)``: ``scale * (q - zero_point)`` where it is quantized."""
    flat = output.reshape(len(output), -1)
    if info.scale is None or info.dtype in FLOATS:
        return flat.astype(np.float32)
    scale, zero_point = np.float32(info.scale), np.float32(info.zero_point or 0)
    return np.asarray(scale * (flat.astype(np.float32) - zero_point), dtype=np.float32)


def axes_of(encoding: InputEncoding, source: str) -> tuple[int, ...]:
    """How the axes of decoded samples are permuted into the file's layout.

    Raises:
        BundleError: If the layout is not one of its kind.
    """
    known = _AXES[encoding.kind]
    if encoding.layout not in known:
        raise BundleError(
            f"{source}: unknown layout {encoding.layout!r} of an input of kind {encoding.kind}; "
            f"known are {', '.join(known)}"
        )
    return known[encoding.layout]


def _normalise(values: Array, encoding: InputEncoding) -> NDArray[np.float32]:
    mean = np.array(encoding.mean, dtype=np.float32)
    std = np.array(encoding.std, dtype=np.float32)
    scaled: NDArray[np.float32] = values.astype(np.float32)
    if encoding.kind == "image":
        scaled /= np.float32(255)
    else:  # (n, C, T): channels are the middle axis
        mean, std = mean[:, None], std[:, None]
    scaled -= mean
    scaled /= std
    return scaled if encoding.clip is None else np.clip(scaled, -encoding.clip, encoding.clip)


def _as_type(values: Array, info: TensorInfo, encoding: InputEncoding, source: str) -> Array:
    if encoding.raw:
        if info.dtype != "uint8":
            raise BundleError(
                f"{source}: its record says raw uint8 pixels, the file takes {info.dtype}; "
                "export it again"
            )
        return values
    if info.dtype in FLOATS:
        return values.astype(info.dtype, copy=False)
    if info.dtype not in ("int8", "uint8", "int16") or info.scale is None:
        raise BundleError(f"{source}: takes {info.dtype} without a scale; export it again")
    limits = np.iinfo(info.dtype)
    quantized = np.rint(values / np.float32(info.scale)) + (info.zero_point or 0)
    clipped: Array = np.clip(quantized, limits.min, limits.max).astype(info.dtype)
    return clipped
