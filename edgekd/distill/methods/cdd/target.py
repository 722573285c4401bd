"""The closed loop to an end size: which channels to mask by when.

The published method has no target; its size follows from the weight of the compression loss. Here
that weight stays, and two things close the loop: channels are masked in the order of how
dispensable retrieval finds them until their cost reaches what has to go, and the pull on masked
rows (:mod:`~edgekd.distill.methods.cdd.pull`) is raised where it would not bring them to zero in
time.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor

from edgekd.config import CddRecipe
from edgekd.distill.methods.cdd.costs import SiteCosts, Unit
from edgekd.distill.methods.cdd.goal import (
    TOLERANCE,
    Goal,
    require_compatible,
    require_reachable,
)

_ALL_MASKED_AT: Final = 0.25  # of the second phase: the rest is for dying and recovering
_STRAY: Final = TOLERANCE / 4  # relative to their goals: how far two units may be apart on the way

Offers = Sequence[tuple[float, int]]
"""Channels of one site that may go, as score and position, the most dispensable first."""


class Target:
    """Which channels to mask so that the network ends at its goals.

    Args:
        goals: One, or one in each unit.
        widths: Channels of every site at the start.

    Raises:
        ModelError: If removing all but one channel everywhere does not reach a goal, or no choice
            of channels reaches both.
    """

    def __init__(self, goals: Sequence[Goal], widths: Sequence[int]) -> None:
        self.goals = tuple(goals)
        self._widths = tuple(widths)
        for goal in self.goals:
            require_reachable(goal, self._widths)
        for first, second in zip(self.goals, self.goals[1:], strict=False):
            require_compatible(first, second, self._widths)

    def is_reached(self, masks: Sequence[Tensor]) -> bool:
        """Whether no further channel has to be masked."""
        kept = _counts(masks)
        rooms = self._rooms(kept, 1.0)
        offered = (site for site, count in enumerate(kept) if count > 1)
        return not any(self._helps(site, rooms) for site in offered)

    def choose(
        self, scores: Sequence[Tensor], masks: Sequence[Tensor], progress: float
    ) -> list[Tensor]:
        """The channels to mask now, the most dispensable first, one left in every site at least.

        Where one of two units strays behind the other, the most dispensable channel of those that
        bring it back goes next. In the end channels go as long as that brings the network nearer
        to its goals, be there room left in one unit alone.

        Args:
            scores: ``(C,)`` per site; larger is more dispensable.
            masks: ``(C,)`` bool per site, true for defended channels.
            progress: Share of the second phase that is over, in [0, 1].

        Returns:
            ``(C,)`` bool per site on the masks' device, true for channels to mask.
        """
        due = min(1.0, progress / _ALL_MASKED_AT)
        chosen = [torch.zeros(len(mask), dtype=torch.bool) for mask in masks]
        rooms = self._rooms(_counts(masks), due)
        if max(rooms) > 0:
            offers = _offers(scores, masks)
            taken = self._take(offers, rooms, to_the_end=due == 1)
            for part, offer, count in zip(chosen, offers, taken, strict=True):
                positions = [position for _, position in offer[:count]]
                part[torch.tensor(positions, dtype=torch.int64)] = True
        return [part.to(mask.device) for part, mask in zip(chosen, masks, strict=True)]

    def misses(self, kept: Sequence[int]) -> tuple[str, ...]:
        """A sentence per goal that a network with ``kept[b]`` channels in site ``b`` missed."""
        return tuple(goal.sentence(kept) for goal in self.goals if abs(goal.miss(kept)) > TOLERANCE)

    def _rooms(self, kept: Sequence[int], due: float) -> list[float]:
        """Per goal what may still go of the share ``due`` of what has to go."""
        rooms = []
        for goal in self.goals:
            start = goal.costs.of(self._widths)
            rooms.append(due * (start - goal.cost) - (start - goal.costs.of(kept)))
        return rooms

    def _take(self, offers: Sequence[Offers], rooms: list[float], *, to_the_end: bool) -> list[int]:
        """How many of its offers each site gives.

        Before the end the first that does not fit waits until it does. In the end what fits behind
        it is taken, and what does not fit where taking it misses the goals by less than leaving it.
        """
        taken = [0] * len(offers)
        open_sites = [site for site, offer in enumerate(offers) if offer]
        while open_sites:
            candidates = self._candidates(open_sites, rooms)
            site = max(candidates, key=lambda b: offers[b][taken[b]][0])
            left = self._without(site, rooms)
            fits = min(left) >= 0
            if fits:
                taken[site] += 1
                rooms = left
            elif not to_the_end:
                return taken
            if not fits or taken[site] == len(offers[site]):
                open_sites.remove(site)
        while sites := [b for b, offer in enumerate(offers) if taken[b] < len(offer)]:
            site = min(sites, key=lambda b: self._distance(self._without(b, rooms)))
            if not (to_the_end and self._helps(site, rooms)):
                break
            taken[site] += 1
            rooms = self._without(site, rooms)
        return taken

    def _candidates(self, sites: Sequence[int], rooms: Sequence[float]) -> Sequence[int]:
        """The sites to take from next: all, or those that bring a straying unit back."""
        behind = [room / goal.cost for room, goal in zip(rooms, self.goals, strict=True)]
        if max(behind) - min(behind) <= _STRAY:
            return sites
        far = self.goals[behind.index(max(behind))]
        near = self.goals[behind.index(min(behind))]
        return [b for b in sites if far.price(b) > near.price(b)] or sites

    def _helps(self, site: int, rooms: Sequence[float]) -> bool:
        return self._distance(self._without(site, rooms)) < self._distance(rooms)

    def _without(self, site: int, rooms: Sequence[float]) -> list[float]:
        """The rooms that are left when the site loses a channel."""
        pairs = zip(self.goals, rooms, strict=True)
        return [room - goal.costs.per_channel[site] for goal, room in pairs]

    def _distance(self, rooms: Sequence[float]) -> float:
        return max(abs(room) / goal.cost for room, goal in zip(rooms, self.goals, strict=True))


def make_target(
    recipe: CddRecipe, costs: Mapping[Unit, SiteCosts], widths: Sequence[int]
) -> Target | None:
    """The target that a recipe gives, if it gives one.

    Raises:
        ModelError: If it is out of reach.
    """
    shares: dict[Unit, float | None] = {"macs": recipe.target_macs, "params": recipe.target_params}
    goals = [
        Goal(unit=unit, costs=costs[unit], share=share)
        for unit, share in shares.items()
        if share is not None
    ]
    return Target(goals, widths) if goals else None


def _counts(masks: Sequence[Tensor]) -> list[int]:
    """Defended channels per site."""
    counts: list[int] = torch.stack([mask.sum() for mask in masks]).tolist()
    return counts


def _offers(scores: Sequence[Tensor], masks: Sequence[Tensor]) -> list[list[tuple[float, int]]]:
    """Per site its defended channels but the least dispensable one."""
    defended = [s.double().masked_fill(~m, -torch.inf) for s, m in zip(scores, masks, strict=True)]
    parts = torch.split(torch.cat(defended).cpu(), [len(mask) for mask in masks])
    found = []
    for part in parts:
        values, order = part.sort(descending=True, stable=True)
        count = max(0, int(torch.isfinite(values).sum()) - 1)
        found.append(list(zip(values[:count].tolist(), order[:count].tolist(), strict=True)))
    return found
