"""Ranges of activations, and which way of setting them errs least.

Every tensor's values are seen once: their number and extremes exactly, and a seeded sample of them
for everything else. From these come four candidates, and the one with the least squared rounding
and clipping error wins, tensor by tensor. One half of the sample proposes and the other judges; the
extremes count in both as what they are, two of all values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.export.quantization.recipe import Range

Values = NDArray[np.float32]

_LEVELS: Final = 255
_KEPT: Final = 32_768  # values per tensor: bounds the memory
_PERCENTILE: Final = 99.99
_SHRINKS: Final = np.linspace(0.4, 1.0, 25)  # of the extremes, tried by MSE and entropy
_BINS: Final = 512
_LARGEST: Final = 1e30
_LEAST: Final = 64  # values that propose; with fewer the extremes are kept


class RangeCollector:
    """Gathers extremes, number and a sample of every tensor's values, batch by batch.

    Args:
        seed: Of the sample.
        per_batch: Values kept of a tensor from each batch, all where it has no more.
    """

    def __init__(self, *, seed: int, per_batch: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._per_batch = per_batch
        self._extremes: dict[str, Range] = {}
        self._counts: dict[str, int] = {}
        self._samples: dict[str, list[Values]] = {}

    def add(self, name: str, values: NDArray[Any]) -> None:
        """Take one batch of a tensor's values.

        Infinities and their stand-ins, with which a pooling is padded, are no values.
        """
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not (low > -_LARGEST and high < _LARGEST):
            values = values[np.abs(values) < _LARGEST]
            if not values.size:
                return
            low, high = float(values.min()), float(values.max())
        before = self._extremes.get(name, (low, high))
        self._extremes[name] = (min(before[0], low), max(before[1], high))
        self._counts[name] = self._counts.get(name, 0) + values.size
        kept = self._samples.setdefault(name, [])
        if sum(map(len, kept)) < _KEPT:
            kept.append(self._some(values.reshape(-1)).astype(np.float32))

    def extremes(self) -> dict[str, Range]:
        """Smallest and largest value of every tensor: calibration by min-max."""
        return dict(self._extremes)

    def clipped(self, ranges: Mapping[str, Range]) -> dict[str, float]:
        """Of every tensor the share of its sample that saturates: beyond a range by half a step.

        What lies nearer to an end is rounded to it like any other value.
        """
        found = {}
        for name, (low, high) in ranges.items():
            values = np.concatenate(self._samples[name])
            low, high = min(low, 0.0), max(high, 0.0)
            half = 0.5 * (high - low) / _LEVELS
            found[name] = float(((values < low - half) | (values > high + half)).mean())
        return found

    def constant(self) -> list[str]:
        """Tensors that never changed: dead, or computed for nothing."""
        return [name for name, (low, high) in self._extremes.items() if low == high]

    def best(self, *, of_at_most: int | None = None) -> dict[str, Range]:
        """Of every tensor the range, of all methods, that errs least on values held out.

        Args:
            of_at_most: Extremes count as two of so many values where there are more, so that fewer
                are cut off; ``None`` for their true share.
        """
        return {
            name: best_range(
                np.concatenate(self._samples[name]),
                extremes,
                min(self._counts[name], of_at_most or self._counts[name]),
            )
            for name, extremes in self._extremes.items()
        }

    def sampled(self) -> dict[str, int]:
        """How many values of every tensor are kept."""
        return {name: sum(map(len, kept)) for name, kept in self._samples.items()}

    def _some(self, flat: NDArray[Any]) -> NDArray[Any]:
        if flat.size <= self._per_batch:
            return flat
        return flat[self._generator.integers(0, flat.size, self._per_batch)]


def best_range(values: Values, extremes: Range, count: int) -> Range:
    """The candidate range with the least mean squared error on every other value.

    Args:
        values: ``(n,)``, a sample; one half proposes, the other judges.
        extremes: Of all values ever seen.
        count: Of these.
    """
    order = np.random.default_rng(0).permutation(len(values))
    half = len(values) // 2
    if half < _LEAST:
        return extremes
    propose, judge = (
        Sample(values[part], extremes, count) for part in (order[:half], order[half:])
    )
    candidates = [method(propose) for method in METHODS.values()]
    return min(candidates, key=judge.error)


@dataclass(frozen=True, eq=False)
class Sample:
    """What is known of a tensor's values.

    Attributes:
        values: ``(n,)``, drawn from all.
        extremes: Smallest and largest of all.
        count: Of all.
    """

    values: Values
    extremes: Range
    count: int

    def error(self, limits: Range) -> float:
        """Mean squared error of all values: the extremes once each, the rest as the sample.

        >>> ramp = Sample(np.float32([0, 255]), (0, 355), 1000)
        >>> ramp.error((0, 255))
        10.0
        """
        outer = min(2 / self.count, 1.0)
        ends = rounding_error(np.array(self.extremes, np.float32), limits)
        return outer * ends + (1 - outer) * rounding_error(self.values, limits)


def rounding_error(values: NDArray[Any], limits: Range) -> float:
    """Mean squared error of 8-bit values over ``limits``, which are widened to hold 0.

    >>> rounding_error(np.float32([0, 255]), (0, 255)), rounding_error(np.float32([300]), (0, 255))
    (0.0, 2025.0)
    """
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    step = (high - low) / _LEVELS
    if step == 0:
        return float(np.square(values).mean())
    rounded = np.clip(np.rint((values - low) / step), 0, _LEVELS) * step + low
    return float(np.square(values - rounded).mean())


def min_max(sample: Sample) -> Range:
    """All values that were seen."""
    return sample.extremes


def percentile(sample: Sample) -> Range:
    """All but the outermost 0.01 % on either side."""
    low, high = np.percentile(sample.values, [100 - _PERCENTILE, _PERCENTILE])
    return max(float(low), sample.extremes[0]), min(float(high), sample.extremes[1])


def mean_squared_error(sample: Sample) -> Range:
    """The shrunken extremes that err least."""
    return _shrunken(sample.extremes, sample.error)


def entropy(sample: Sample) -> Range:
    """The shrunken extremes whose 8-bit histogram loses least information.

    Source:
        Migacz (2017), "8-bit inference with TensorRT": the Kullback-Leibler divergence of the
        values from their quantized form.
    """
    reference, edges = np.histogram(sample.values, bins=_BINS, range=sample.extremes)
    centres = (edges[1:] + edges[:-1]) / 2

    def divergence(limits: Range) -> float:
        low, high = min(limits[0], 0.0), max(limits[1], 0.0)
        step = (high - low) / _LEVELS or 1.0
        level = np.clip(np.rint((centres - low) / step), 0, _LEVELS).astype(np.int64)
        mass = np.bincount(level, weights=reference, minlength=_LEVELS + 1)
        filled = np.bincount(level, weights=reference > 0, minlength=_LEVELS + 1)
        # spread over the inner bins of a level; what is clipped piles up in the outer ones
        spread = np.where(reference > 0, mass[level] / np.maximum(filled[level], 1), 0.0)
        p, q = reference / reference.sum(), spread / max(spread.sum(), 1e-12)
        seen = p > 0
        return float((p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))).sum())

    return _shrunken(sample.extremes, divergence)


METHODS: Final[Mapping[str, Callable[[Sample], Range]]] = {
    "min-max": min_max,
    "percentile": percentile,
    "mse": mean_squared_error,
    "entropy": entropy,
}
"""Name -> from a sample to a range."""


def _shrunken(extremes: Range, cost: Callable[[Range], float]) -> Range:
    candidates = [(extremes[0] * float(s), extremes[1] * float(s)) for s in _SHRINKS]
    return min(candidates, key=cost)
