"""Tensors whose channels can be scaled for free: made by some layers, read by others.

Between maker and reader only operators stand that carry a positive factor through: ``f(x / s)`` is
``f(x) / s``, channel by channel. ReLU does; ReLU6, hard swish, SiLU, GELU and sigmoid do not, so
that nothing is scaled across them. A sum ties the channels of both sides together: the tensors of
a whole residual stream are one group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from torch import fx

from edgekd.export.adjustments.carrying import RULES
from edgekd.export.adjustments.trace import Layer, Trace, operator, shape


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


_LOOKING: Final = frozenset({"_assert_tensor_metadata"})
"""Operators that ask what a tensor is like, not what is in it."""

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
        rule = RULES.get(operator(node))
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
