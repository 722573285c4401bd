"""A network as a graph of operators: which layer makes and which layer reads which channels."""

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from edgekd.errors import ExportError
from edgekd.export.quiet import quiet_converter

Hear = Callable[[fx.Node, tuple[Any, ...]], None]
"""Takes a node and the values of its arguments."""

_CONVOLUTIONS: Final = frozenset({"conv1d", "conv2d", "conv3d"})
_NORMS: Final[Mapping[str, tuple[int, int, int]]] = {
    # operator: where its weight and bias stand, and the axis of its channels
    "layer_norm": (2, 3, -1),
    "group_norm": (2, 3, 1),
    "batch_norm": (1, 2, 1),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """An operator whose weight belongs to it alone.

    Attributes:
        node: Its place in the graph; its first argument is what it reads.
        weight: Name of the parameter; its first axis is the channels it makes.
        bias: Likewise; ``None`` where it has none.
        axis: Of the channels in what it makes and, for a product, in what it reads.
        is_product: Convolution or linear layer; else a normalisation with an affine part.
    """

    node: fx.Node
    weight: str
    bias: str | None
    axis: int
    is_product: bool

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of all it has."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def answer(self, values: tuple[Any, ...], *, x: Tensor, weight: Tensor) -> Tensor:
        """What a product makes of another input with another weight and without its bias.

        Args:
            values: Of all arguments of its node.
            x: In place of the first.
            weight: In place of the second.
        """
        target: Any = self.node.target
        result: Tensor = target(x, weight, None, *values[3:], **dict(self.node.kwargs))
        return result


class Trace:
    """A network traced once, run on any samples with whatever its parameters are by then.

    Args:
        network: In eval mode.
        samples: One batch of one per input.

    Raises:
        ExportError: If torch cannot trace it.
    """

    def __init__(self, network: nn.Module, samples: Sequence[Tensor]) -> None:
        self.network = network
        try:
            with quiet_converter(), torch.no_grad():
                program = torch.export.export(network, tuple(samples)).run_decompositions({})
        except Exception as error:  # the tracer raises types of many packages
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ExportError(f"torch cannot trace the student: {reason}") from error
        self._program = program
        self.nodes: tuple[fx.Node, ...] = tuple(program.graph.nodes)
        names: Mapping[str, str] = program.graph_signature.inputs_to_parameters
        self._names = dict(names)
        self._private = self._used_once()
        found = ((node, self._layer(node)) for node in self.nodes)
        self.layers: Mapping[fx.Node, Layer] = {node: x for node, x in found if x is not None}

    def of(self, network: nn.Module) -> "Trace":
        """The same graph over the parameters of a copy of its network."""
        other = copy.copy(self)
        other.network = network
        return other

    def products(self) -> Iterator[Layer]:
        """Convolutions and linear layers, in the order of execution."""
        return (layer for layer in self.layers.values() if layer.is_product)

    @torch.no_grad()
    def run(self, sample: Sequence[Tensor], wanted: Collection[fx.Node], hear: Hear) -> None:
        """Run the network and hand out what chosen operators were given.

        Args:
            sample: One batch of one per input.
            wanted: Nodes to hear about.
            hear: Called once per wanted node, in the order of execution.
        """
        listener = _Listener(self._program.graph_module, frozenset(wanted), hear)
        listener.run(*self._feeds(sample), enable_io_processing=False)

    def _feeds(self, sample: Sequence[Tensor]) -> Iterator[Any]:
        inputs = iter(sample)
        for spec in self._program.graph_signature.input_specs:
            if spec.kind == InputKind.USER_INPUT:
                yield next(inputs)
            elif spec.kind == InputKind.PARAMETER:
                yield self.network.get_parameter(str(spec.target))
            elif spec.kind == InputKind.BUFFER:
                yield self.network.get_buffer(str(spec.target))
            else:
                yield self._program.constants[str(spec.target)]

    def _used_once(self) -> frozenset[str]:
        """Placeholders of parameters that one operator alone reads, under whatever name."""
        tensors = {name: id(self.network.get_parameter(x)) for name, x in self._names.items()}
        uses: Counter[int] = Counter()
        for node in self.nodes:
            if node.name in tensors:
                uses[tensors[node.name]] += len(node.users)
        return frozenset(name for name, tensor in tensors.items() if uses[tensor] == 1)

    def _layer(self, node: fx.Node) -> Layer | None:
        kind = operator(node)
        if kind in _NORMS:
            where, bias_at, axis = _NORMS[kind]
            return self._layer_at(node, where, bias_at, axis % rank(node), is_product=False)
        if kind in _CONVOLUTIONS:
            return self._layer_at(node, 1, 2, 1, is_product=True)
        if kind == "linear":
            return self._layer_at(node, 1, 2, rank(node) - 1, is_product=True)
        return None

    def _layer_at(
        self, node: fx.Node, where: int, bias_at: int, axis: int, *, is_product: bool
    ) -> Layer | None:
        weight, bias = self._own(argument(node, where)), self._own(argument(node, bias_at))
        if weight is None or (bias is None and argument(node, bias_at) is not None):
            return None
        tensor = self.network.get_parameter(weight)
        if rank(node) < 2 or shape(node)[axis] != tensor.shape[0]:
            return None  # without a batch axis
        if not is_product and tensor.dim() != 1:
            return None  # normalised over more than its channels
        if is_product and axis == 1 and rank(node) != tensor.dim():
            return None  # a convolution without a batch axis
        return Layer(node=node, weight=weight, bias=bias, axis=axis, is_product=is_product)

    def _own(self, value: Any) -> str | None:
        """The parameter's name, if nothing else reads it."""
        if isinstance(value, fx.Node) and value.name in self._private:
            return self._names[value.name]
        return None


def operator(node: fx.Node) -> str:
    """The name of an ATen operator, without namespace and overload; empty for other nodes."""
    packet = getattr(node.target, "overloadpacket", None)
    return "" if packet is None or node.op != "call_function" else str(packet.__name__)


def argument(node: fx.Node, index: int) -> Any:
    """A positional argument; ``None`` where it is left at its default."""
    return node.args[index] if len(node.args) > index else None


def shape(node: fx.Node) -> tuple[int, ...]:
    """Of the one tensor that a node makes; empty where it makes none, or several."""
    value = node.meta.get("val")
    return tuple(int(size) for size in value.shape) if isinstance(value, Tensor) else ()


def rank(node: fx.Node) -> int:
    """Number of axes of what a node makes."""
    return len(shape(node))


class _Listener(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, wanted: frozenset[fx.Node], hear: Hear) -> None:
        super().__init__(module)
        self._wanted, self._hear = wanted, hear

    def run_node(self, n: fx.Node) -> Any:
        if n in self._wanted:
            values, _ = self.fetch_args_kwargs_from_env(n)
            self._hear(n, tuple(values))
        return super().run_node(n)
