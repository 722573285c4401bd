"""How hard masked rows are pulled to zero: with a target, hard enough to be there in time."""

from collections.abc import Callable
from typing import Final

import torch

_ALL_DEAD_AT: Final = 0.4  # of the second phase: the rest is for recovering
_SAFETY: Final = 2.0  # task gradients of other rows and momentum make the way longer


class Pull:
    """How hard masked rows are pulled to zero at every step.

    Args:
        base: The recipe's weight of the compression loss.
        rate: Learning rate of the indicators at a step.
        momentum: Theirs.
        steps: First step of the second phase, and number of all steps.
        deadline: Whether rows have to be at zero by a certain step (a target was given).
    """

    def __init__(
        self,
        base: float,
        rate: Callable[[int], float],
        *,
        momentum: float,
        steps: tuple[int, int],
        deadline: bool,
    ) -> None:
        self._base = base
        self._rate = rate
        self._momentum = momentum
        first, total = steps
        self._end = first + round(_ALL_DEAD_AT * (total - first))
        ways = torch.tensor([rate(step) for step in range(self._end)], dtype=torch.float64)
        # _ahead[s]: how far a pull of 1 moves a row from step s to the end
        self._ahead = ways.flip(0).cumsum(0).flip(0) / (1 - momentum)
        self._has_deadline = deadline

    def strength(self, step: int, longest: float) -> float:
        """The pull at ``step`` if the longest masked row is ``longest``."""
        if not self._has_deadline or longest == 0:
            return self._base
        ahead = float(self._ahead[step]) if step < self._end else self._rate(step)
        return max(self._base, _SAFETY * longest / max(ahead, 1e-12))

    def band(self, step: int, strength: float) -> float:
        """Length below which a pulled row only swings around zero."""
        return self._rate(step) * strength / (1 - self._momentum)
