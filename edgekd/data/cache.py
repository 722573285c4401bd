"""Decoded samples for training: in memory where they fit, decoded on demand where not."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.console import Console, SilentConsole
from edgekd.data.dataset import Indices, Samples
from edgekd.records import ImageInput, InputSpec

_BLOCK: Final = 1024


class PixelSource:
    """Samples by index, decoded and fitted as :meth:`Samples.load` does it.

    Args:
        samples: One split.
        spec: What to decode to.
        limit_bytes: Up to this size all samples are decoded now and kept in memory.
        console: Shows a progress bar while they are.

    Raises:
        DataError: If a file cannot be read any more.
    """

    def __init__(
        self,
        samples: Samples,
        spec: InputSpec,
        *,
        limit_bytes: int = 1 << 30,
        console: Console | None = None,
    ) -> None:
        self._samples = samples
        self._spec = spec
        dtype, shape = _element(spec)
        size_bytes = len(samples) * math.prod(shape) * dtype.itemsize
        self._kept = (
            self._decode_all(console or SilentConsole()) if size_bytes <= limit_bytes else None
        )

    @property
    def in_memory(self) -> bool:
        """Whether all samples are decoded already."""
        return self._kept is not None

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, indices: Indices) -> NDArray[Any]:
        """uint8 ``(n, H, W, C)`` for images, float32 ``(n, C, T)`` for signals, for ``(n,)``.

        Raises:
            DataError: If a file cannot be read any more.
        """
        return (
            self._samples.load(indices, self._spec) if self._kept is None else self._kept[indices]
        )

    def _decode_all(self, console: Console) -> NDArray[Any]:
        dtype, shape = _element(self._spec)
        kept = np.empty((len(self._samples), *shape), dtype)
        with console.track(f"Decoding {self._samples.name}", len(kept)) as tracker:
            for start in range(0, len(kept), _BLOCK):
                block = np.arange(start, min(start + _BLOCK, len(kept)))
                kept[block] = self._samples.load(block, self._spec)
                tracker.advance(len(block))
        return kept


class InputSource:
    """Samples of every input of a network by index: one :class:`PixelSource` per input.

    Args:
        samples: One split.
        specs: What to decode to, one per input.
        console: Shows a progress bar while samples are decoded into memory.

    Raises:
        DataError: If a file cannot be read any more, or the data lack an input.
    """

    def __init__(
        self, samples: Samples, specs: Sequence[InputSpec], *, console: Console | None = None
    ) -> None:
        self._parts = tuple(PixelSource(samples, spec, console=console) for spec in specs)

    def __len__(self) -> int:
        return len(self._parts[0])

    def __getitem__(self, indices: Indices) -> tuple[NDArray[Any], ...]:
        """One array of ``n`` decoded samples per input, for ``(n,)`` positions.

        Raises:
            DataError: If a file cannot be read any more.
        """
        return tuple(part[indices] for part in self._parts)


def _element(spec: InputSpec) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if isinstance(spec, ImageInput):
        return np.dtype(np.uint8), (spec.height, spec.width, spec.channels)
    return np.dtype(np.float32), (spec.channels, spec.length)
