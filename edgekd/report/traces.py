"""Strips: a row of fractions over time, small enough for a table cell, as SVG or as text."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_LEVELS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = "·"
_MAX_CHARACTERS: Final = 32


def strip_path(values: Sequence[float | None]) -> str:
    """The filled steps below ``values`` as the ``d`` of an SVG path.

    Args:
        values: N fractions, clipped to [0, 1]; ``None`` leaves a gap.

    Returns:
        A path in a box of N x 1 with y pointing down; equal neighbours share one step.

    >>> strip_path([1.0, 1.0, 0.25])
    'M0 1V0H2V0.75H3V1Z'
    """
    tops = [1.0 if value is None else round(1 - _clipped(value), 3) for value in values]
    steps = [
        f"V{top:g}H{end}"
        for end, top in enumerate(tops, start=1)
        if end == len(tops) or tops[end] != top
    ]
    return f"M0 1{''.join(steps)}V1Z"


def strip_text(values: Sequence[float | None]) -> str:
    """One character per value, or per group of neighbours where there are more than 32.

    A group shows its mean, and a gap if nothing in it is known.

    >>> strip_text([1.0, 0.5, 0.05, None])
    '█▅▁·'
    """
    count = min(len(values), _MAX_CHARACTERS)
    edges = [index * len(values) // count for index in range(count + 1)] if count else []
    return "".join(_character(values[start:end]) for start, end in pairwise(edges))


def _character(group: Sequence[float | None]) -> str:
    known = [_clipped(value) for value in group if value is not None]
    if not known:
        return _GAP
    return _LEVELS[min(int(sum(known) / len(known) * len(_LEVELS)), len(_LEVELS) - 1)]


def _clipped(value: float) -> float:
    return min(max(value, 0.0), 1.0)
