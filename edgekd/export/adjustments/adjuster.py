"""What could be changed in one float network so that 8 bits hurt it less, one kind at a time."""

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.export.adjustments.apply import adjusted, scale
from edgekd.export.adjustments.groups import scale_groups
from edgekd.export.adjustments.record import Adjustments, ChannelScaling, Kind
from edgekd.export.adjustments.scales import best_scaling, watch
from edgekd.export.adjustments.shifts import bias_shifts
from edgekd.export.adjustments.trace import Trace
from edgekd.export.quantization.candidates import error_rows

_MOST: Final = 32  # samples that propose


class Adjuster:
    """Proposes adjustments of a network; whether one is kept is for its int8 file to show.

    Args:
        network: What ``prepare_for_export`` returned; it stays as it is.
        inputs: Samples that propose, as the network takes them: ``(n, ...)`` per input.
    """

    def __init__(self, network: nn.Module, inputs: Sequence[NDArray[np.float32]]) -> None:
        self.network = network
        self._inputs = inputs
        self.settled: Adjustments | None = None
        """What the files of another format have shown to help; ``None`` before the first."""

    def propose(self, kind: Kind, kept: Adjustments) -> Adjustments | None:
        """What is kept, and adjustments of one more kind.

        Args:
            kind: Which has not been kept yet.
            kept: Of the kinds before it.

        Returns:
            ``None`` where the network has no place for it, or none where it would help.

        Raises:
            ExportError: If torch cannot trace the network.
        """
        if kind == "bias correction":
            trace = self._trace.of(adjusted(self.network, kept))
            shifts = bias_shifts(trace, self._samples)
            return kept.model_copy(update={"shifts": shifts}) if shifts else None
        new = self._scalings[kind]
        return kept.model_copy(update={"scalings": (*kept.scalings, *new)}) if new else None

    @cached_property
    def _samples(self) -> list[tuple[Tensor, ...]]:
        """Each one batch of one per input."""
        return [
            tuple(torch.from_numpy(x[row : row + 1].copy()) for x in self._inputs)
            for row in range(len(self._inputs[0]))
        ]

    @cached_property
    def _trace(self) -> Trace:
        return Trace(self.network, self._samples[0])

    @cached_property
    def _scalings(self) -> Mapping[str, tuple[ChannelScaling, ...]]:
        """By kind; each group of channels is scaled at most once."""
        groups = scale_groups(self._trace)
        seen = watch(self._trace, groups, self._samples)
        found: dict[str, list[ChannelScaling]] = {"equalization": [], "smoothing": []}
        scaled = copy.deepcopy(self.network)  # what makes one group may read another
        for group in groups:
            best = best_scaling(scaled, group, seen)
            if best is not None:
                scale(scaled, best)
                found[best.kind].append(best)
        return {kind: tuple(scalings) for kind, scalings in found.items()}


def proposing_rows(rows: int) -> NDArray[Any]:
    """Which of the calibration samples propose: spread over those that do not judge.

    >>> proposing_rows(3).tolist(), len(proposing_rows(256))
    ([0, 1, 2], 32)
    """
    others = np.setdiff1d(np.arange(rows), error_rows(rows))
    if not len(others):
        others = np.arange(rows)
    picks = np.linspace(0, len(others) - 1, min(len(others), _MOST)).round().astype(int)
    return np.asarray(others[np.unique(picks)])
