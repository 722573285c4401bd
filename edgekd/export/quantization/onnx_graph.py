"""An fp32 ONNX graph as the quantizer sees it: who makes and reads what, shapes, units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgekd.export.audit.onnx_reading import at_batch_one
from edgekd.export.quantization.recipe import Choice
from edgekd.export.quantization.units import Unit

PASSING: Final = frozenset(
    {"Reshape", "Transpose", "MaxPool", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split"}
)
"""Operators that only move values: they follow their producer and keep its scale."""
TAILS: Final = frozenset({"Relu", "Clip"})
"""Activations that the saturation of the output does for free."""
PRODUCTS: Final = frozenset({"Conv", "MatMul", "Gemm"})
_STORED: Final[Mapping[str, tuple[int, int]]] = {"ConvTranspose": (1, 1), "Gather": (0, -1)}
"""Operators that compute in float only, from weights that can be stored in 8 bits: which input
these are, and the axis of what they make."""

_ELEMENTWISE: Final = frozenset(
    {
        "Add", "Mul", "Sigmoid", "LeakyRelu", "AveragePool", "GlobalAveragePool", "Concat",
        "HardSwish", "HardSigmoid", "Softmax",
    }
)  # fmt: skip
"""What ONNX Runtime has int8 kernels for, besides products."""
_BEFORE_THE_NETWORK: Final = frozenset({"Cast", "Mul", "Add"})  # InputNormalisation's operators


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxGraph:
    """Read once, never changed.

    Attributes:
        model: Every node has a name of its own.
        constants: Initializers as arrays.
        shapes: At batch size 1, where known.
        floats: Names of the float32 activations.
        units: In the order of execution.
    """

    model: onnx.ModelProto
    constants: Mapping[str, NDArray[Any]]
    producers: Mapping[str, onnx.NodeProto]
    readers: Mapping[str, Sequence[onnx.NodeProto]]
    shapes: Mapping[str, tuple[int, ...]]
    floats: frozenset[str]
    outputs: frozenset[str]
    units: tuple[Unit, ...]

    @classmethod
    def read(cls, model: onnx.ModelProto) -> "OnnxGraph":
        """Of a model whose nodes have names, with a dynamic or fixed batch axis."""
        graph = at_batch_one(model).graph
        values = [*graph.value_info, *graph.input, *graph.output]
        typed = {v.name: v.type.tensor_type for v in values}
        constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        bare = cls(
            model=model,
            constants=constants,
            producers={output: node for node in model.graph.node for output in node.output},
            readers=readers,
            shapes={k: tuple(d.dim_value for d in t.shape.dim) for k, t in typed.items()}
            | {k: v.shape for k, v in constants.items()},
            floats=frozenset(
                k for k, t in typed.items()
                if t.elem_type == TensorProto.FLOAT and k not in constants
            ),
            outputs=frozenset(item.name for item in model.graph.output),
            units=(),
        )  # fmt: skip
        before = before_the_network(model)
        found = (_unit(bare, node) for node in model.graph.node if node.name not in before)
        units = tuple(unit for unit in found if unit is not None)
        return cls(**{**bare.__dict__, "units": units})

    def tail(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The activation that alone reads what ``node`` makes."""
        readers = self.readers.get(node.output[0], ())
        if len(readers) == 1 and readers[0].op_type in TAILS and node.output[0] not in self.outputs:
            return readers[0]
        return None

    def activations(self, node: onnx.NodeProto) -> list[str]:
        """Its float inputs that are no constants."""
        return [name for name in node.input if name in self.floats]

    def weights(self, node: onnx.NodeProto) -> NDArray[Any] | None:
        """Of a product: its constant second operand."""
        if node.op_type not in PRODUCTS or len(node.input) < 2:
            return None
        return self.constants.get(node.input[1])


def before_the_network(model: onnx.ModelProto) -> frozenset[str]:
    """Names of the nodes that normalise raw pixels: they stay in float.

    Their output is quantized once for the first convolution; quantizing each step would round
    three times.
    """
    raw = {
        item.name
        for item in model.graph.input
        if item.type.tensor_type.elem_type == TensorProto.UINT8
    }
    names = []
    for node in model.graph.node:  # in topological order, as the standard demands
        if node.op_type in _BEFORE_THE_NETWORK and node.input[0] in raw:
            raw.update(node.output)
            names.append(node.name)
    return frozenset(names)


def channel_axis(node: onnx.NodeProto, weights: NDArray[Any]) -> int:
    """Of weights: the axis of the output channels."""
    if node.op_type == "Conv":
        return 0
    if node.op_type in _STORED:
        return _STORED[node.op_type][1] % weights.ndim
    if node.op_type == "Gemm":
        return 0 if integer(node, "transB", 0) else 1
    return weights.ndim - 1


def weights_input(node: onnx.NodeProto) -> int:
    """Which input of an operator may be weights."""
    return _STORED[node.op_type][0] if node.op_type in _STORED else 1


def integer(node: onnx.NodeProto, name: str, default: int) -> int:
    """An integer attribute."""
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def real(node: onnx.NodeProto, name: str, default: float) -> float:
    """A float attribute."""
    return next((float(a.f) for a in node.attribute if a.name == name), default)


def _unit(graph: OnnxGraph, node: onnx.NodeProto) -> Unit | None:
    if node.domain not in ("", "ai.onnx") or node.output[0] not in graph.floats:
        return None
    if node.op_type in PRODUCTS:
        return _product(graph, node)
    if node.op_type in _STORED:
        weights = graph.constants.get(node.input[weights_input(node)])
        if weights is None or weights.dtype != np.float32 or weights.ndim < 2:
            return None
        return Unit(
            name=node.name, kind=str(node.op_type), choices=("weights",), num_weights=weights.size
        )
    if node.op_type not in _ELEMENTWISE or not graph.activations(node):
        return None
    return Unit(name=node.name, kind=_form(graph, node), choices=("static", "float"))


def _product(graph: OnnxGraph, node: onnx.NodeProto) -> Unit | None:
    weights = graph.weights(node)
    if weights is None:
        both = len(graph.activations(node)) == 2 and node.op_type == "MatMul"
        kind = "MatMul of activations"
        return Unit(name=node.name, kind=kind, choices=("static", "float")) if both else None
    choices: tuple[Choice, ...] = ("static", "weights")
    if node.op_type != "Conv" and weights.ndim == 2:
        choices = ("static", "dynamic", "weights")
    if not _plain(graph, node, weights):
        choices = ("weights",)
    return Unit(name=node.name, kind=_form(graph, node), choices=choices, num_weights=weights.size)


def _plain(graph: OnnxGraph, node: onnx.NodeProto, weights: NDArray[Any]) -> bool:
    """Whether the int8 kernels know this form."""
    if node.input[0] not in graph.floats or weights.dtype != np.float32:
        return False
    if node.op_type == "Gemm":
        scaled = real(node, "alpha", 1.0) != 1.0 or real(node, "beta", 1.0) != 1.0
        if scaled or integer(node, "transA", 0):
            return False
    if node.op_type == "MatMul" and weights.ndim != 2:
        return False
    bias = node.input[2] if len(node.input) > 2 else ""
    return not bias or (bias in graph.constants and graph.constants[bias].ndim == 1)


def _form(graph: OnnxGraph, node: onnx.NodeProto) -> str:
    """The kind of a unit, finer than its type where speed depends on it."""
    output = graph.shapes.get(node.output[0], ())
    if node.op_type == "Conv":
        weights = graph.constants[node.input[1]]
        if integer(node, "group", 1) > 1:
            return "Conv depthwise" if weights.shape[1] == 1 else "Conv grouped"
        if len(output) == 4 and output[2:] == (1, 1):
            return "Conv on a vector"
        return "Conv pointwise" if set(weights.shape[2:]) == {1} else "Conv"
    if node.op_type in ("Add", "Mul"):
        sizes = {graph.shapes.get(name) for name in graph.activations(node)}
        return f"{node.op_type} broadcast" if len(sizes) > 1 else node.op_type
    if len(output) == 4 and output[2:] == (1, 1):
        return f"{node.op_type} on a vector"
    return str(node.op_type)
