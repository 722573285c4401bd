"""Made-up inputs for a file that is only to be run: where no data is at hand, or no record."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import BundleError
from edgekd.runtimes.encoding import FLOATS, InputEncoding, TensorInfo, axes_of, match_inputs

Array = NDArray[Any]


def random_samples(
    inputs: Sequence[TensorInfo],
    encodings: Sequence[InputEncoding],
    *,
    batch: int,
    seed: int,
    source: str,
) -> list[Array]:
    """Seeded decoded samples, one array per encoding, where no data is at hand.

    Raises:
        BundleError: If the file's inputs are not those the encodings describe.
    """
    generator = np.random.default_rng(seed)
    samples: list[Array] = []
    infos = match_inputs(inputs, encodings, source=source)
    for info, encoding in zip(infos, encodings, strict=True):
        axes = axes_of(encoding, source)
        sizes = [batch, *fixed_sizes(info)]
        if len(sizes) != len(axes):
            raise BundleError(f"{source}: takes {info.shape}, its record says {encoding.layout}")
        shape = [sizes[axes.index(axis)] for axis in range(len(axes))]
        if encoding.kind == "image":
            samples.append(generator.integers(0, 256, shape, dtype=np.uint8))
        else:
            samples.append(generator.standard_normal(shape, dtype=np.float32))
    return samples


def random_feeds(inputs: Sequence[TensorInfo], *, batch: int, seed: int) -> dict[str, Array]:
    """Seeded input tensors for a file of which nothing but its inputs is known.

    Floats are standard normal, integers span their type.

    Raises:
        BundleError: If an axis other than the first is dynamic, or a type is not a number.
    """
    generator = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for info in inputs:
        shape = [batch, *fixed_sizes(info)] if info.shape else []
        if info.dtype in (*FLOATS, "float64"):
            feeds[info.name] = np.asarray(generator.standard_normal(shape), dtype=info.dtype)
        elif info.dtype in ("int8", "uint8"):
            limits = np.iinfo(info.dtype)
            feeds[info.name] = generator.integers(
                limits.min, limits.max + 1, shape, dtype=info.dtype
            )
        else:
            raise BundleError(
                f"input {info.name!r} takes {info.dtype}; without a record beside the file "
                "only float and 8-bit inputs can be made up"
            )
    return feeds


def fixed_sizes(info: TensorInfo) -> list[int]:
    """Sizes of all axes but the first.

    Raises:
        BundleError: If one of them is dynamic.
    """
    sizes = [size for size in info.shape[1:] if size is not None]
    if len(sizes) != len(info.shape[1:]):
        raise BundleError(
            f"input {info.name!r} has shape {info.shape}; only the first axis may be dynamic: "
            "export it with a fixed size"
        )
    return sizes
