"""From the ranges that a training learned to those of a file's tensors.

A network in torch and a file of it share no names: exporters rename, transpose, merge and split
tensors. What they share is their values. So a tensor of a file takes the learned range of the point
in the network whose smallest and largest value over the calibration samples are its own; which also
holds for what a reshape, a transpose or a max pooling made of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgekd.export.quantization.recipe import Range

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


def _near(one: Range, other: Range, share: float) -> bool:
    allowed = share * (other[1] - other[0])
    return abs(one[0] - other[0]) <= allowed and abs(one[1] - other[1]) <= allowed
