"""Learned ranges of a network's activations, with what these hold over the calibration samples.

By that a file's tensors are told: see :mod:`edgekd.export.quantization.learned`.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from edgekd.errors import BundleError
from edgekd.export.quantization.calibration import CalibrationSamples
from edgekd.export.quantization.learned import LearnedRange
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.recipe import Range
from edgekd.students.quantized import FakeQuantized

_BATCH: Final = 32
_CALIBRATION_VALUES: Final = 20_000  # kept per tensor, over all samples

Batches = Sequence[tuple[Tensor, ...]]


def learned_points(
    student: nn.Module,
    ranges: Mapping[str, Range],
    calibration: CalibrationSamples | None,
) -> tuple[LearnedRange, ...]:
    """The ranges that a student's training learned, where anything is to be calibrated.

    Args:
        student: As trained; it is not touched.
        ranges: By the names of its record; empty where nothing was learned.
        calibration: ``None`` where no range is set.

    Raises:
        BundleError: If they are of another network.
    """
    if not ranges or calibration is None:
        return ()
    batches = in_batches(calibration)
    network = FakeQuantized(copy.deepcopy(student), [x[:2] for x in batches[0]])
    if set(network.points) != set(ranges):
        raise BundleError(
            f"the bundle has learned ranges of {len(ranges)} activations, and the network rounds "
            f"{len(network.points)} others; train it again with --qat"
        )
    return paired(network, batches, ranges)


def paired(
    network: FakeQuantized, batches: Batches, ranges: Mapping[str, Range]
) -> tuple[LearnedRange, ...]:
    """Learned ranges with the extremes that are seen in float, point by point."""
    seen = observed(network, batches).extremes()
    return tuple(LearnedRange(seen=seen[name], learned=limits) for name, limits in ranges.items())


def in_batches(calibration: CalibrationSamples) -> Batches:
    """All samples, normalised as the network takes them."""
    feeds = calibration.feeds("float32", channel_last=False)
    inputs = [torch.from_numpy(feeds[spec.name]) for spec in calibration.specs]
    starts = range(0, len(inputs[0]), _BATCH)
    return [tuple(x[start : start + _BATCH] for x in inputs) for start in starts]


def observed(network: FakeQuantized, batches: Batches) -> RangeCollector:
    """What every point of a network holds, in float."""
    collector = RangeCollector(seed=0, per_batch=max(64, _CALIBRATION_VALUES // len(batches)))
    for batch in batches:
        network.observe(batch, collector.add)
    return collector
