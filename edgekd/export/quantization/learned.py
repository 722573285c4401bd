"""From the ranges that a training learned to those of a file's tensors.

A network in torch and a file of it share no names: exporters rename, transpose, merge and split
tensors. What they share is their values. So a tensor of a file takes the learned range of the point
in the network whose smallest and largest value over the calibration samples are its own; which also
holds for what a reshape, a transpose or a max pooling made of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from edgekd.export.quantization.candidates import Quantizer
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.recipe import Range
from edgekd.export.quantization.units import Choices, Unit

_SAME: Final = 1e-4  # of a range's width: float32 sums in another order differ by less
_STEP: Final = 1 / 255  # of a range's width


@dataclass(frozen=True, kw_only=True)
class LearnedRange:
    """One tensor of the network.

    Attributes:
        seen: Its smallest and largest value over the calibration samples, in float.
        learned: Its range after the training.
    """

    seen: Range
    learned: Range


def matched(extremes: Mapping[str, Range], learned: Sequence[LearnedRange]) -> dict[str, Range]:
    """The learned ranges of a file's tensors, for those that can be told.

    A tensor is left out where no point of the network has its extremes, within 0.01 % of their
    distance, or where several have and learned ranges that differ by more than a step of 8 bits.

    Args:
        extremes: Of a file's float tensors, over the samples that the network saw too.
        learned: Of the network.

    >>> one = LearnedRange(seen=(0.0, 6.0), learned=(0.0, 5.0))
    >>> other = LearnedRange(seen=(-1.0, 3.0), learned=(-0.75, 2.5))
    >>> matched({"relu": (0.0, 6.0001), "sum": (-1.0, 3.5)}, [one, other])
    {'relu': (0.0, 5.0)}
    """
    found = {}
    for name, own in extremes.items():
        ranges = [point.learned for point in learned if _near(point.seen, own, _SAME)]
        if ranges and all(_near(other, ranges[0], _STEP) for other in ranges):
            found[name] = ranges[0]
    return found


class WithLearnedRanges:
    """A quantizer whose files have learned ranges where their tensors can be told.

    Args:
        inner: Of the fp32 file of the network that learned.
        learned: By its training.
    """

    def __init__(self, inner: Quantizer, learned: Sequence[LearnedRange]) -> None:
        self._inner, self._learned = inner, learned
        self._matched: dict[str, Range] = {}
        self._seen = 0
        self._clipped: dict[str, float] = {}

    @property
    def format(self) -> str:
        """Of the inner quantizer."""
        return self._inner.format

    @property
    def units(self) -> tuple[Unit, ...]:
        """Of the inner quantizer."""
        return self._inner.units

    @property
    def notes(self) -> tuple[str, ...]:
        """Of the inner quantizer."""
        return self._inner.notes

    @property
    def calibration_batch(self) -> int:
        """Of the inner quantizer."""
        return self._inner.calibration_batch

    @property
    def told(self) -> tuple[str, ...]:
        """How many ranges were learned, as a note; nothing where nothing was calibrated."""
        if not self._seen:
            return ()
        return (
            f"{len(self._matched)} of {self._seen} activations have the range that was learned",
        )

    def calibrate(self, feeds: Mapping[str, NDArray[Any]], collector: RangeCollector) -> None:
        """Show every activation to a collector, and tell the learned ones by their extremes."""
        self._inner.calibrate(feeds, collector)
        extremes = collector.extremes()
        self._matched, self._seen = matched(extremes, self._learned), len(extremes)
        self._clipped = collector.clipped(self._matched)

    def write(self, choices: Choices, ranges: Mapping[str, Range], path: Path) -> None:
        """Write the int8 file, with learned ranges in the place of given ones."""
        self._inner.write(choices, self.learned(ranges), path)

    def learned(self, ranges: Mapping[str, Range]) -> dict[str, Range]:
        """The ranges that :meth:`write` writes."""
        return {name: self._matched.get(name, limits) for name, limits in ranges.items()}

    def saturated(
        self, calibrated: Mapping[str, float] | None, *, over: float
    ) -> dict[str, float] | None:
        """Shares of values outside the ranges that are written, where they are over a limit.

        Args:
            calibrated: Those of the calibrated ranges; ``None`` where none were set.
            over: The limit.
        """
        if calibrated is None:
            return None
        others = {n: share for n, share in calibrated.items() if n not in self._matched}
        return {**others, **{n: share for n, share in self._clipped.items() if share > over}}

    def versions(self) -> dict[str, str]:
        """Of the inner quantizer."""
        return self._inner.versions()


def _near(one: Range, other: Range, share: float) -> bool:
    allowed = share * (other[1] - other[0])
    return abs(one[0] - other[0]) <= allowed and abs(one[1] - other[1]) <= allowed
