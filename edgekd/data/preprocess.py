"""What a model's input should look like for a data set."""

import math
from collections import Counter
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import Dataset, Indices, Samples
from edgekd.records import ImageInput, InputSpec, Preprocess, SignalInput

Fit = Literal["crop", "squash", "pad"]

_NUM_SAMPLED: Final = 512  # the mean of 512 images is within 0.02 of the mean of all
_SMALL: Final = 256  # up to here images are used at their own size
_DEFAULT_SIZE: Final = 224
_SMALLEST: Final = 8
_CLIP: Final = 6.0  # body sensors reach 28 standard deviations; unclipped, int8 loses 9 to 13 dB


def suggest_preprocess(dataset: Dataset, *, input_size: int | None, fit: Fit) -> Preprocess:
    """Size, channels, mean and std for a data set, from its training split alone.

    Images whose sample is all grey get one channel. Without ``input_size``, the size that at least
    half of the training images have is kept where both sides are at most 256 px; where sizes
    differ, the median of their short sides rounded down to a multiple of 8, from 8 to 224; and
    224 where images are larger.

    Args:
        dataset: Of any kind; signals keep their shape and get one input per modality, in the
            order of their names and after an image.
        input_size: Height and width in pixels.
        fit: As :attr:`ImageInput.fit <edgekd.records.ImageInput>`.
    """
    train = dataset.splits["train"]
    rows = np.sort(np.random.default_rng(0).permutation(len(train))[:_NUM_SAMPLED])
    signals = tuple(
        _signal_input(train, rows, name, channels, length)
        for name, (channels, length) in sorted(dataset.modalities.items())
    )
    if dataset.kind == "signal":
        return Preprocess(inputs=signals)
    image = _image_input(train, rows, input_size=input_size, fit=fit)
    return Preprocess(inputs=(image, *signals))


def absent_samples(spec: InputSpec, count: int) -> NDArray[Any]:
    """What is fed for a sensor that is missing: ``count`` decoded samples of its training mean.

    Normalised they are zeros (for an image up to the rounding of a pixel), which modality dropout
    taught the network to do without.

    >>> spec = SignalInput(name="acc", channels=1, length=2, mean=(9.81,), std=(2.0,))
    >>> absent_samples(spec, 1).tolist() == [[[np.float32(9.81)] * 2]]
    True
    """
    mean = np.array(spec.mean, np.float32)
    if isinstance(spec, SignalInput):
        return np.tile(mean[:, None], (count, 1, spec.length))
    pixel = np.floor(mean * 255 + 0.5).astype(np.uint8)
    return np.tile(pixel, (count, spec.height, spec.width, 1))


def _image_input(train: Samples, rows: Indices, *, input_size: int | None, fit: Fit) -> ImageInput:
    height, width = (input_size, input_size) if input_size else _common_size(train)
    raw = ImageInput(
        channels=3, height=height, width=width, fit=fit, mean=(0.0,) * 3, std=(1.0,) * 3
    )
    pixels = train.load(rows, raw)
    if bool((pixels == pixels[..., :1]).all()):
        pixels = pixels[..., :1]
    mean, std = _mean_and_std(pixels / 255, axis=(0, 1, 2))
    channels: Literal[1, 3] = 1 if pixels.shape[-1] == 1 else 3
    return ImageInput(channels=channels, height=height, width=width, fit=fit, mean=mean, std=std)


def _common_size(train: Samples) -> tuple[int, int]:
    if train.sizes is None:
        raise ValueError("signals have no size in pixels")
    sizes = [(int(height), int(width)) for height, width in train.sizes]
    (height, width), count = Counter(sizes).most_common(1)[0]
    if 2 * count < len(sizes):
        short = int(np.median(train.sizes.min(axis=1))) // 8 * 8
        height = width = max(_SMALLEST, min(short, _DEFAULT_SIZE))
    elif max(height, width) > _SMALL:
        height = width = _DEFAULT_SIZE
    return max(height, _SMALLEST), max(width, _SMALLEST)


def _signal_input(
    train: Samples, rows: Indices, name: str, channels: int, length: int
) -> SignalInput:
    raw = SignalInput(
        name=name, channels=channels, length=length, mean=(0.0,) * channels, std=(1.0,) * channels
    )
    mean, std = _mean_and_std(train.load(rows, raw), axis=(0, 2))
    return SignalInput(name=name, channels=channels, length=length, mean=mean, std=std, clip=_CLIP)


def _mean_and_std(
    values: NDArray[Any], axis: tuple[int, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel, to 6 digits, so that the last bits of a sum do not make two recipes differ.

    A channel is constant if it varies by less than float32 tells apart at its magnitude: in volts
    or metres per second a whole signal may be of the size of 1e-7.
    """
    mean = values.mean(axis=axis, dtype=np.float64)
    std = values.std(axis=axis, dtype=np.float64)
    resolution = np.finfo(np.float32).eps * np.abs(values).max(axis=axis)
    std[std <= resolution] = 1.0  # it becomes 0, not a division by zero
    return tuple(_to_six_digits(v) for v in mean), tuple(_to_six_digits(v) for v in std)


def _to_six_digits(value: float) -> float:
    """Six digits behind the point, and more of a number below a tenth: six that are not zero."""
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return round(float(value), max(6, 5 - magnitude))
