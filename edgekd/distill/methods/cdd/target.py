"""The closed loop to an end size: how many channels to mask by when, and how hard to pull.

The published method has no target; its size follows from the weight of the compression loss. Here
that weight stays, and two things close the loop: channels are masked in the order of how
dispensable retrieval finds them until their cost reaches what has to go, and the pull on masked
rows is raised where it would not bring them to zero in time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from edgekd.config import CddRecipe
from edgekd.distill.methods.cdd.costs import SiteCosts, Unit
from edgekd.errors import ModelError

TOLERANCE: Final = 0.02
"""How far an end may be from its target, relative to the target."""
_ALL_MASKED_AT: Final = 0.5  # of the second phase: the rest is for dying ...
_ALL_DEAD_AT: Final = 0.75  # ... and for recovering, before the rate is too low for it
_SAFETY: Final = 2.0  # task gradients of other rows and momentum make the way longer


class Target:
    """Which channels to mask so that the network ends at a share of its cost.

    Args:
        costs: Of the network.
        share: Of ``costs.full`` that is to remain, in (0, 1).
        widths: Channels of every site at the start.

    Raises:
        ModelError: If removing all but one channel everywhere does not reach the share.
    """

    def __init__(self, costs: SiteCosts, share: float, widths: Sequence[int]) -> None:
        self.costs = costs
        self.goal = share * costs.full
        self.start = costs.of(widths)
        least = costs.of([1] * len(widths))
        if least > self.goal * (1 + TOLERANCE):
            raise ModelError(
                f"target {share:.3f} is out of reach: removing the inner channels of all "
                f"{len(widths)} blocks leaves {least / costs.full:.3f} of this network; "
                "raise the target or choose a smaller student"
            )

    def spent(self, masks: Sequence[Tensor]) -> float:
        """Cost that is gone once every masked channel is."""
        return self.start - self.costs.of([int(mask.sum()) for mask in masks])

    def is_reached(self, masks: Sequence[Tensor]) -> bool:
        """Whether no further channel has to be masked."""
        offered = [
            cost
            for cost, mask in zip(self.costs.per_channel, masks, strict=True)
            if int(mask.sum()) > 1
        ]
        return not offered or 2 * self._room(masks, 1.0) < min(offered)

    def choose(
        self, scores: Sequence[Tensor], masks: Sequence[Tensor], progress: float
    ) -> list[Tensor]:
        """The channels to mask now, the most dispensable first, one left in every site at least.

        In the end the cost is as near to the goal as the cheapest channel allows.

        Args:
            scores: ``(C,)`` per site; larger is more dispensable.
            masks: ``(C,)`` bool per site, true for defended channels.
            progress: Share of the second phase that is over, in [0, 1].

        Returns:
            ``(C,)`` bool per site on the masks' device, true for channels to mask.
        """
        due = min(1.0, progress / _ALL_MASKED_AT)
        score = torch.cat([_eligible(s, m) for s, m in zip(scores, masks, strict=True)]).cpu()
        sizes = [len(mask) for mask in masks]
        cost = torch.repeat_interleave(
            torch.tensor(self.costs.per_channel, dtype=torch.float64), torch.tensor(sizes)
        )
        chosen = _affordable(score, cost, self._room(masks, due), to_the_end=due == 1)
        return [part.to(masks[0].device) for part in torch.split(chosen, sizes)]

    def _room(self, masks: Sequence[Tensor], progress: float) -> float:
        return progress * (self.start - self.goal) - self.spent(masks)


def make_target(
    recipe: CddRecipe, costs: Mapping[Unit, SiteCosts], widths: Sequence[int]
) -> Target | None:
    """The target that a recipe gives, if it gives one.

    Raises:
        ModelError: If it is out of reach.
    """
    if recipe.target_macs is not None:
        return Target(costs["macs"], recipe.target_macs, widths)
    if recipe.target_params is not None:
        return Target(costs["params"], recipe.target_params, widths)
    return None


def _affordable(score: Tensor, cost: Tensor, room: float, *, to_the_end: bool) -> Tensor:
    """``(N,)`` bool: the channels with the highest scores whose costs fit into ``room``.

    Before the end the first that does not fit waits until it does. In the end what fits behind it
    is taken, and the cheapest channel besides if that misses the goal by less than leaving it.
    """
    chosen = torch.zeros(len(score), dtype=torch.bool)
    order = score.argsort(descending=True, stable=True)
    order = order[torch.isfinite(score[order])]
    while len(order):
        fits = cost[order].cumsum(0) <= room
        taken = order[fits]
        chosen[taken] = True
        room -= float(cost[taken].sum())
        order = order[~fits]
        if not to_the_end:
            return chosen
        order = order[cost[order] <= room]
    price, cheapest = cost.masked_fill(~torch.isfinite(score) | chosen, torch.inf).min(0)
    if to_the_end and float(price) < 2 * room:
        chosen[cheapest] = True
    return chosen


def _eligible(score: Tensor, mask: Tensor) -> Tensor:
    """The score, -inf for masked channels and for the least dispensable one."""
    eligible = score.double().masked_fill(~mask, -torch.inf)
    last = score.double().masked_fill(~mask, torch.inf).argmin()
    eligible[last] = -torch.inf
    return eligible


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
