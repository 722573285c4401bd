"""Which operators carry a positive factor per channel through, and on which axis it comes out.

``f(x / s)`` is ``f(x) / s``, channel by channel, for what only moves, sums or pools values, and for
ReLU; for ReLU6, hard swish, SiLU, GELU and sigmoid it is not.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import fx

from edgekd.export.adjustments.trace import argument, rank, shape

Rule = Callable[[fx.Node, list[fx.Node], int], int | None]
"""A node, those it reads that have scaled channels, and the axis these are in; gives the axis in
what it makes, or ``None`` where it does not carry factors through."""


def _elementwise(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    return axis if shape(node) == shape(sources[0]) else None


def _dropout(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    return axis if argument(node, 2) is False else None


def _window(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    """Pooling and resizing: over all axes behind the channels, in ``(B, C, ...)``."""
    return axis if axis == 1 and rank(node) == rank(sources[0]) else None


def _pad(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    sizes: Any = argument(node, 1)
    more = [x for x in (*node.args[2:], *node.kwargs.values()) if x is not None]
    zeros = all(x in ("constant", 0) for x in more)
    return axis if zeros and axis < rank(node) - len(sizes) // 2 else None


def _over(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    """A mean, sum or maximum over other axes than that of the channels."""
    dims: Any = argument(node, 1)
    if not isinstance(dims, list | tuple) or not dims or node.kwargs:
        return None
    size = rank(sources[0])
    gone = {dim % size for dim in dims}
    if axis in gone:
        return None
    return axis if argument(node, 2) else axis - sum(dim < axis for dim in gone)


def _view(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    """The axis before which as many values lie, and which is as long."""
    old, new = shape(sources[0]), shape(node)
    before = math.prod(old[:axis])
    fits = (i for i, size in enumerate(new) if size == old[axis] and math.prod(new[:i]) == before)
    return next(fits, None) if old[axis] > 1 else None


def _permute(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    dims: Any = argument(node, 1)
    return [dim % len(dims) for dim in dims].index(axis)


def _transpose(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    one, other = (int(argument(node, i)) % rank(node) for i in (1, 2))
    return {one: other, other: one}.get(axis, axis)


def _slice(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    dim = int(argument(node, 1) or 0) % rank(sources[0])
    return axis if dim != axis else None


def _select(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    dim = int(argument(node, 1)) % rank(sources[0])
    return None if dim == axis else axis - (dim < axis)


def _sum(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    """Both operands are scaled, and alike."""
    operands = [argument(node, 0), argument(node, 1)]
    scaled = all(operand in sources for operand in operands)
    alike = len({shape(source) for source in sources}) == 1
    return axis if scaled and alike and shape(node) == shape(sources[0]) else None


def _product(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    """One operand is scaled: a gate, a layer scale or a number is the other."""
    one = len(sources) == 1 and argument(node, 0) is not argument(node, 1)
    return axis if one and shape(node) == shape(sources[0]) else None


def _quotient(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    plain = argument(node, 0) in sources and not node.kwargs  # without rounding
    return _product(node, sources, axis) if plain else None


def _joined(node: fx.Node, sources: list[fx.Node], axis: int) -> int | None:
    parts: Any = argument(node, 0)
    dim = int(argument(node, 1) or 0) % rank(node)
    return axis if dim != axis and all(part in sources for part in parts) else None


RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(("relu", "leaky_relu", "clone", "alias", "detach", "contiguous"), _elementwise),
    **dict.fromkeys(
        (
            "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d",
            "adaptive_avg_pool2d", "upsample_nearest2d", "upsample_bilinear2d",
        ),
        _window,
    ),
    **dict.fromkeys(("pad", "constant_pad_nd"), _pad),
    **dict.fromkeys(("mean", "sum", "amax"), _over),
    **dict.fromkeys(
        ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"), _view
    ),
    **dict.fromkeys(("add", "sub", "maximum", "minimum"), _sum),
    "dropout": _dropout,
    "permute": _permute,
    "transpose": _transpose,
    "slice": _slice,
    "select": _select,
    "mul": _product,
    "div": _quotient,
    "cat": _joined,
}  # fmt: skip
"""Operator -> how it carries positive factors of channels through; any other one does not."""
