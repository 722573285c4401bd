"""An end size: a share of a network's cost, whether it can be reached, and how it was missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from edgekd.distill.methods.cdd.costs import SiteCosts, Unit
from edgekd.errors import ModelError

TOLERANCE: Final = 0.02
"""How far an end may be from its goal, relative to the goal."""
_NAMES: Final[Mapping[Unit, str]] = {"macs": "MACs", "params": "parameters"}


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A share of a network's cost to end at, in one unit."""

    unit: Unit
    costs: SiteCosts
    share: float
    """Of ``costs.full``, in (0, 1)."""

    @property
    def cost(self) -> float:
        """What is to remain."""
        return self.share * self.costs.full

    def miss(self, kept: Sequence[int]) -> float:
        """How much larger than the goal the network is, relative to the goal."""
        return self.costs.of(kept) / self.cost - 1

    def price(self, site: int) -> float:
        """Of one channel, relative to the goal."""
        return self.costs.per_channel[site] / self.cost

    def sentence(self, kept: Sequence[int]) -> str:
        """How the end missed the goal, and why that may be."""
        found, name = self.costs.of(kept) / self.costs.full, _NAMES[self.unit]
        coarse = max(self.costs.per_channel) / self.cost
        if coarse > 2 * TOLERANCE:
            reason = f"one channel of this network is up to {100 * coarse:.1f} % of that"
        else:
            reason = "give it more epochs, or a smaller cdd.mask_from"
        return (
            f"ended at {found:.3f} of its {name}, {100 * abs(self.miss(kept)):.1f} % "
            f"{'above' if found > self.share else 'below'} the target of {self.share:.3f}; {reason}"
        )


def require_reachable(goal: Goal, widths: Sequence[int]) -> None:
    """Check that a network of ``widths`` is small enough with one channel in every site.

    Raises:
        ModelError: If it is not.
    """
    least = [1] * len(widths)
    if goal.miss(least) > TOLERANCE:
        raise ModelError(
            f"target {goal.share:.3f} is out of reach: removing the inner channels of all "
            f"{len(widths)} blocks leaves {goal.costs.of(least) / goal.costs.full:.3f} of this "
            f"network's {_NAMES[goal.unit]}; raise the target or choose a smaller student"
        )


def require_compatible(first: Goal, second: Goal, widths: Sequence[int]) -> None:
    """Check that ``second`` lies between the least and the most that is left at ``first``.

    Raises:
        ModelError: If it does not: no choice of channels ends at both.
    """
    ends = sorted(_share_at(first, second, widths, dear=dear) for dear in (False, True))
    if not ends[0] * (1 - TOLERANCE) <= second.share <= ends[1] * (1 + TOLERANCE):
        raise ModelError(
            f"the targets exclude each other: at {first.share:.3f} of its {_NAMES[first.unit]} "
            f"this network has {ends[0]:.3f} to {ends[1]:.3f} of its {_NAMES[second.unit]}, "
            f"whichever channels go; {second.share:.3f} is asked for"
        )


def _share_at(first: Goal, second: Goal, widths: Sequence[int], *, dear: bool) -> float:
    """What is left in the second unit where the first is at its goal.

    Channels go site by site, those first whose cost is largest in the second unit for what it is
    in the first (``dear``), or smallest.
    """
    order = sorted(range(len(widths)), key=lambda b: second.price(b) / first.price(b), reverse=dear)
    to_go = first.costs.of(widths) - first.cost
    left = float(second.costs.of(widths))
    for site in order:
        count = max(0.0, min(widths[site] - 1, to_go / first.costs.per_channel[site]))
        to_go -= count * first.costs.per_channel[site]
        left -= count * second.costs.per_channel[site]
    return left / second.costs.full
