"""Samples that are in memory already: images as uint8, sensor windows as they came."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekd.console import Console
from edgekd.data.dataset import Contents, Indices
from edgekd.data.images import Pixels, fit_image, require_image
from edgekd.errors import DataError
from edgekd.records import InputSpec, SignalInput

_BLOCK: Final = 4096  # rows at a time, so that checks need no second copy of the array

Arrays = Mapping[str, NDArray[Any]]


class ArrayImages:
    """Serves images that are already in memory; see :class:`edgekd.data.dataset.Reader`.

    Args:
        images: ``(N, H, W, C)`` with one or three channels.
    """

    def __init__(self, images: Pixels) -> None:
        self._images = images

    def load(self, rows: Indices, spec: InputSpec) -> Pixels:
        """Fit ``rows`` to ``(n, H, W, C)``.

        Raises:
            DataError: If ``spec`` asks for a signal.
        """
        image_spec = require_image(spec)
        shape = (image_spec.height, image_spec.width, image_spec.channels)
        if self._images.shape[1:] == shape:
            return self._images[rows]
        squeezed = self._images[..., 0] if self._images.shape[-1] == 1 else self._images
        fitted = [fit_image(Image.fromarray(squeezed[row]), image_spec) for row in rows]
        return np.stack(fitted) if fitted else np.empty((0, *shape), np.uint8)


class ArraySignals:
    """Serves sensor windows from memory; see :class:`edgekd.data.dataset.Reader`.

    Args:
        windows: ``(N, C, T)`` per modality.
    """

    def __init__(self, windows: Arrays) -> None:
        self._windows = windows

    def load(self, rows: Indices, spec: InputSpec) -> NDArray[np.float32]:
        """``rows`` of the modality that ``spec`` names, ``(n, C, T)``.

        Raises:
            DataError: If there is no such modality, or its shape is not the spec's.
        """
        if not isinstance(spec, SignalInput) or spec.name not in self._windows:
            raise DataError(
                f"the model takes {spec.name!r}, the data hold the signals "
                f"{', '.join(self._windows)}; use the data it was made for"
            )
        windows = self._windows[spec.name]
        if windows.shape[1:] != (spec.channels, spec.length):
            raise DataError(
                f"signal {spec.name!r} is {windows.shape[1:]}, the model takes "
                f"{(spec.channels, spec.length)} (channels, time steps); use its own data"
            )
        return windows[rows].astype(np.float32)


class ArrayMixed:
    """Serves an image and signals per sample; see :class:`edgekd.data.dataset.Reader`.

    Args:
        images: For specs of images.
        signals: For specs of signals.
    """

    def __init__(self, images: ArrayImages, signals: ArraySignals) -> None:
        self._images = images
        self._signals = signals

    def load(self, rows: Indices, spec: InputSpec) -> NDArray[Any]:
        """``rows`` of the input that ``spec`` describes.

        Raises:
            DataError: If there is no such modality, or its shape is not the spec's.
        """
        if isinstance(spec, SignalInput):
            return self._signals.load(rows, spec)
        return self._images.load(rows, spec)


def image_contents(images: Pixels, **rows: Any) -> Contents:
    """Contents for images in memory; ``rows`` are the remaining fields of :class:`Contents`.

    Args:
        images: ``(N, H, W, C)`` with one or three channels.
        **rows: At least names, labels and class names.
    """
    return Contents(
        kind="image",
        reader=ArrayImages(images),
        digests=digest_rows([images]),
        sizes=np.tile(np.array(images.shape[1:3], np.int64), (len(images), 1)),
        **rows,
    )


def digest_rows(arrays: Iterable[NDArray[Any]]) -> tuple[bytes, ...]:
    """sha256 of each row over all arrays, with type and shape, so that equal means same content."""
    arrays = list(arrays)
    start = hashlib.sha256("".join(f"{a.dtype.str}{a.shape[1:]}" for a in arrays).encode())
    digests = []
    for row in range(len(arrays[0])):
        digest = start.copy()
        for array in arrays:
            digest.update(np.ascontiguousarray(array[row]).data)
        digests.append(digest.digest())
    return tuple(digests)


def to_uint8(images: NDArray[Any], *, source: str, console: Console) -> Pixels:
    """Images of any number type as uint8 ``(N, H, W, C)`` with one or three channels.

    bool is black and white; uint16 is divided by 257; floats within [0, 1] are multiplied by 255;
    floats and wider integers within [0, 255] are taken as they are (said on the console for
    floats). RGBA is laid over white.

    Args:
        images: ``(N, H, W)`` or ``(N, H, W, C)``.
        source: How to name the data in an error.
        console: Hears how floats were understood.

    Raises:
        DataError: For another shape, other ranges, or NaN and infinite values.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape:
        hint = "; move the channels last" if images.ndim == 4 and images.shape[1] in (1, 3) else ""
        raise DataError(
            f"{source}: images of shape {images.shape}; expected (N, H, W) or (N, H, W, C) with "
            f"1, 3 or 4 channels{hint}"
        )
    scale = _scale(images, source, console)
    out = np.empty((*images.shape[:3], min(images.shape[-1], 3)), np.uint8)
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK]
        if scale != 1 or block.dtype.kind == "f":
            block = np.floor(block.astype(np.float64) * scale + 0.5)
        out[start : start + _BLOCK] = _flatten(block) if block.shape[-1] == 4 else block
    return out


def refuse_nan(values: NDArray[Any], name: str, source: str) -> None:
    """Check that all numbers are finite in float32, which networks compute in.

    Raises:
        DataError: If not, with the number of rows and the first of them.
    """
    if values.dtype.kind != "f":
        return
    bad = 0
    first = None
    largest = np.finfo(np.float32).max
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        finite = (np.abs(block) <= largest).reshape(len(block), -1).all(axis=1)  # NaN is not
        bad += int((~finite).sum())
        if first is None and not finite.all():
            first = start + int(np.argmin(finite))
    if bad:
        raise DataError(
            f"{source}: {name} has NaN or infinite values in {bad} row(s), "
            f"the first is row {first} (numbers are float32, up to 3.4e38); remove or fill them"
        )


def _scale(images: NDArray[Any], source: str, console: Console) -> float:
    if images.dtype == np.bool_:
        return 255.0
    if images.dtype.kind not in "uif":
        raise DataError(f"{source}: images of type {images.dtype}; expected numbers")
    if images.dtype == np.uint8:
        return 1.0
    if images.dtype == np.uint16:
        return 1 / 257
    refuse_nan(images, "images", source)
    low, high = float(images.min()), float(images.max())
    if low < 0 or high > 255:
        raise DataError(
            f"{source}: image values from {low:g} to {high:g}; expected uint8, uint16, or values "
            "in [0, 1] or [0, 255]: save them before normalisation"
        )
    if images.dtype.kind != "f":
        return 1.0
    console.info(f"{source}: float images from {low:g} to {high:g}, read as {_range(high)}")
    return 255.0 if high <= 1 else 1.0


def _range(high: float) -> str:
    return "[0, 1]" if high <= 1 else "[0, 255]"


def _flatten(rgba: NDArray[Any]) -> NDArray[Any]:
    colour, alpha = rgba[..., :3].astype(np.float64), rgba[..., 3:] / 255.0
    return np.floor(colour * alpha + 255.0 * (1 - alpha) + 0.5)
