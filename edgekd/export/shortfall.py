"""When int8 files lose too much for the network they were made from, and which of two is taken."""

import math
from collections.abc import Sequence

from edgekd.config import ExportRecipe
from edgekd.export.parity import loses_too_much
from edgekd.export.verify import Verdict


def shortfall(verdicts: Sequence[Verdict], recipe: ExportRecipe) -> str | None:
    """Why a recovery is due, of the file that loses most; ``None`` where none is.

    A search that took nothing counts where the file with everything in int8 would be refused.
    """
    due = [v for v in verdicts if v.candidate.int8 and (v.problems or v.candidate.strict_problems)]
    if not due:
        return None
    worst = max(due, key=lambda v: math.inf if v.model is None else v.metric_drop or 0.0)
    if not worst.problems:
        problems = ", ".join(worst.candidate.strict_problems)
        return f"{worst.file}: with everything in int8, {problems}"
    if worst.model is not None and loses_too_much(worst.model.parity, recipe):
        allowed = recipe.allowed_drop(worst.model.parity.num_samples)
        lost = f"{100 * (worst.metric_drop or 0.0):.1f}"
        return f"{worst.file}: drop {lost} points over the budget of {100 * allowed:g}"
    return f"{worst.file}: {', '.join(worst.problems)}"


def better(before: Verdict, after: Verdict | None) -> Verdict:
    """The recovered file, unless the first one passed and this one is refused or not int8."""
    if after is None:
        return before
    is_worse = bool(after.problems) or _fell_back(after)
    return before if is_worse and not before.problems else after


def outcome(verdict: Verdict) -> str:
    """What became of a file, for people."""
    drop = verdict.metric_drop
    figures = [] if drop is None else [f"drop {100 * drop:.1f} points"]
    slow = ["nothing in int8 is faster"] if _fell_back(verdict) else []
    return ", ".join([*figures, *slow, *verdict.problems]) or "no metric to compare"


def _fell_back(verdict: Verdict) -> bool:
    """Whether its search found nothing in int8 to take."""
    recipe = verdict.candidate.int8_recipe
    figures = None if recipe is None else recipe.figures
    return figures is not None and figures.fallback is not None
