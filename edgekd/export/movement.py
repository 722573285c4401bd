"""What a chain of reshapes and transposes does to a tensor, and the shortest chain that does it.

Reshapes cost nothing: values stay where they are. Transposes move them. So a chain is nothing but
one new order of the values: here it is worked out, and written with as few transposes as
possible, none of a tensor of more than four axes.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise, permutations
from typing import Final

Shape = tuple[int, ...]
Step = tuple[Shape, tuple[int, ...]]
"""A reshape, and the transpose after it."""

_MOST_AXES: Final = 4  # what delegates and int8 kernels take
_MOST_PARTS: Final = 6  # of an order: more are left alone, looking for a way takes too long


class Movement:
    """A tensor's values, followed through reshapes and transposes.

    Args:
        shape: Of the tensor, all sizes known.

    >>> moved = Movement((2, 3, 4))
    >>> moved.transpose((1, 0, 2)), moved.reshape((6, 4)), moved.transpose((1, 0))
    (None, True, None)
    >>> moved.steps()
    [((2, 3, 4), (2, 1, 0))]
    """

    def __init__(self, shape: Shape) -> None:
        self._sizes: dict[int, int] = {}
        self._source: list[int] = []
        """Parts of the source's order, outermost first."""
        self._axes = [[self._part(size)] if size != 1 else [] for size in shape]
        self._source = [part for axis in self._axes for part in axis]

    def transpose(self, axes: Sequence[int]) -> None:
        """Axis ``i`` becomes what ``axes[i]`` was."""
        self._axes = [self._axes[axis] for axis in axes]

    def reshape(self, shape: Shape) -> bool:
        """Group the same values anew; ``False`` where parts of axes would have to be mixed."""
        parts = [part for axis in self._axes for part in axis]
        axes: list[list[int]] = []
        for size in shape:
            axis, missing = list[int](), size
            while missing > 1:
                if not parts:
                    return False
                shared = math.gcd(missing, self._sizes[parts[0]])
                if shared == 1:
                    return False
                if shared < self._sizes[parts[0]]:
                    parts[:1] = self._split(parts[0], shared)
                axis.append(parts.pop(0))
                missing //= shared
            axes.append(axis)
        self._axes = axes
        return not parts

    def steps(self) -> list[Step] | None:
        """The fewest reshapes and transposes that bring the values into the order they have now.

        Returns:
            ``[]`` where they are in it already; ``None`` where the order has too many parts.
        """
        sizes, order = self._merged()
        if len(order) > _MOST_PARTS:
            return None
        way = _shortest(tuple(range(len(order))), order)
        return None if way is None else [_step(groups, sizes) for groups in way]

    def _merged(self) -> tuple[list[int], tuple[int, ...]]:
        """Sizes of the parts of the source's order, and the order now; neighbours are one part."""
        place = {part: number for number, part in enumerate(self._source)}
        now = [place[part] for axis in self._axes for part in axis]
        runs: list[list[int]] = []
        for number in now:
            if runs and number == runs[-1][-1] + 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        inner_first = sorted(range(len(runs)), key=lambda run: runs[run][0])
        sizes = [math.prod(self._sizes[self._source[n]] for n in runs[run]) for run in inner_first]
        return sizes, tuple(inner_first.index(run) for run in range(len(runs)))

    def _part(self, size: int) -> int:
        self._sizes[len(self._sizes)] = size
        return len(self._sizes) - 1

    def _split(self, part: int, outer: int) -> list[int]:
        """Two parts in the place of one, also in the source's order."""
        made = [self._part(outer), self._part(self._sizes[part] // outer)]
        position = self._source.index(part)
        self._source[position : position + 1] = made
        return made


_Order = tuple[int, ...]
_Groups = tuple[tuple[_Order, ...], tuple[int, ...]]
"""Neighbouring parts that move together, and where to."""


def _shortest(start: _Order, goal: _Order) -> list[_Groups] | None:
    """Breadth first, from one order to the other."""
    ways: dict[_Order, list[_Groups]] = {start: []}
    waiting = [start]
    for order in waiting:
        if order == goal:
            return ways[order]
        for groups in _moves(order):
            parts, axes = groups
            after = tuple(part for axis in axes for part in parts[axis])
            if after not in ways:
                ways[after] = [*ways[order], groups]
                waiting.append(after)
    return None


def _moves(order: _Order) -> Iterator[_Groups]:
    """Ways to transpose; those first that leave the innermost values beside each other."""
    found = []
    for count in range(2, min(_MOST_AXES, len(order)) + 1):
        for cuts in combinations(range(1, len(order)), count - 1):
            parts = tuple(order[a:b] for a, b in pairwise((0, *cuts, len(order))))
            found += [(parts, axes) for axes in permutations(range(count)) if _moves_all(axes)]
    return iter(sorted(found, key=lambda move: (move[1][-1] != len(move[1]) - 1, len(move[1]))))


def _moves_all(axes: tuple[int, ...]) -> bool:
    """Whether no two neighbours stay neighbours: then they are one group."""
    return all(b != a + 1 for a, b in pairwise(axes))


def _step(groups: _Groups, sizes: Sequence[int]) -> Step:
    parts, axes = groups
    return tuple(math.prod(sizes[number] for number in part) for part in parts), axes
