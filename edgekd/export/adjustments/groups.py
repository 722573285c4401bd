"""Tensors whose channels can be scaled for free: made by some layers, read by others.

Between maker and reader only operators stand that carry a positive factor through: ``f(x / s)`` is
``f(x) / s``, channel by channel. ReLU does; ReLU6, hard swish, SiLU, GELU and sigmoid do not, so
that nothing is scaled across them. A sum ties the channels of both sides together: the tensors of
a whole residual stream are one group.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import fx

from edgekd.export.adjustments.trace import Layer, Trace, argument, operator, rank, shape


@dataclass(frozen=True, kw_only=True, eq=False)
class ScaleGroup:
    """Layers that share one factor per channel.

    Attributes:
        producers: Divide by it.
        consumers: Products, which multiply by it as they read.
        channels: How many there are.
    """

    producers: tuple[Layer, ...]
    consumers: tuple[Layer, ...]
    channels: int

    @property
    def only_norms_produce(self) -> bool:
        """Whether the factors go into the affine parts of normalisations."""
        return not any(layer.is_product for layer in self.producers)


def scale_groups(trace: Trace) -> tuple[ScaleGroup, ...]:
    """Every group of a network, in the order of execution.

    Source:
        Nagel et al. (2019), arXiv:1906.04721, section 4.1, for two layers with ReLU between them;
        Xiao et al. (2023), arXiv:2211.10438, section 4, for a normalisation and the linear layers
        that read it.
    """
    finder = _Finder(trace)
    for node in trace.nodes:
        finder.visit(node)
    return tuple(finder.groups())


_Place = tuple[int, int]
"""Number of a group, and which axis of a tensor its channels are."""


class _Finder:
    def __init__(self, trace: Trace) -> None:
        self._layers = trace.layers
        self._places: dict[fx.Node, _Place] = {}
        self._parents: list[int] = []
        self._producers: list[Layer] = []
        self._consumers: list[tuple[int, Layer]] = []
        self._blocked: set[int] = set()

    def visit(self, node: fx.Node) -> None:
        """Nodes come in the order of execution."""
        layer = self._layers.get(node)
        if layer is None:
            if operator(node) not in _LOOKING:
                self._carry(node)
            return
        source = node.args[0]
        for read in node.all_input_nodes:
            fits = read is source and layer.is_product and self._axis(read) == layer.axis
            if fits and read in self._places:
                self._consumers.append((self._places[read][0], layer))
            else:
                self._block(read)
        self._places[node] = (len(self._parents), layer.axis)
        self._parents.append(len(self._parents))
        self._producers.append(layer)

    def groups(self) -> Iterator[ScaleGroup]:
        """What nothing stood in the way of, and somebody reads."""
        blocked = {self._root(number) for number in self._blocked}
        for root in dict.fromkeys(self._root(number) for number in range(len(self._parents))):
            consumers = tuple(x for number, x in self._consumers if self._root(number) == root)
            if root in blocked or not consumers:
                continue
            producers = tuple(
                x for number, x in enumerate(self._producers) if self._root(number) == root
            )
            first = producers[0]
            yield ScaleGroup(
                producers=producers,
                consumers=consumers,
                channels=shape(first.node)[first.axis],
            )

    def _carry(self, node: fx.Node) -> None:
        """The group of what a node makes, where it carries factors through; else their end."""
        sources = [read for read in node.all_input_nodes if read in self._places]
        if not sources:
            return
        rule = _RULES.get(operator(node))
        axes = {self._axis(source) for source in sources}
        axis = rule(node, sources, axes.pop()) if rule is not None and len(axes) == 1 else None
        if axis is None:
            for source in sources:
                self._block(source)
            return
        first = self._places[sources[0]][0]
        for source in sources[1:]:
            self._join(first, self._places[source][0])
        self._places[node] = (first, axis)

    def _axis(self, node: fx.Node) -> int:
        return self._places.get(node, (0, -1))[1]

    def _block(self, node: fx.Node) -> None:
        if node in self._places:
            self._blocked.add(self._places[node][0])

    def _join(self, first: int, second: int) -> None:
        self._parents[self._root(second)] = self._root(first)

    def _root(self, number: int) -> int:
        while self._parents[number] != number:
            number = self._parents[number]
        return number


_LOOKING: Final = frozenset({"_assert_tensor_metadata"})
"""Operators that ask what a tensor is like, not what is in it."""

_Rule = Callable[[fx.Node, list[fx.Node], int], int | None]
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


_RULES: Final[Mapping[str, _Rule]] = {
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
