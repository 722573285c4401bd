"""Multiply-accumulates of ONNX operators, from the shapes of their tensors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

import onnx

from edgekd.runtimes.precision import OperatorKind

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

OPAQUE: Final = frozenset({"Einsum", "LSTM", "GRU", "RNN", "If", "Loop", "Scan", "Attention"})
"""Operators that may multiply and whose multiplications are not counted here."""


@dataclass(frozen=True, kw_only=True)
class Multiplying:
    """How an operator multiplies.

    Attributes:
        formula: From a node and the shapes of all tensors to its multiply-accumulates.
        writes_int8: Its int8 kernel also needs its output quantized.
        native: What it is by its own definition, where that is an integer operator.
    """

    formula: Callable[[onnx.NodeProto, Shapes], int]
    writes_int8: bool = False
    native: OperatorKind | None = None

    def count(self, node: onnx.NodeProto, shapes: Shapes) -> int | None:
        """Of one sample; ``None`` where shape inference did not find a shape."""
        try:
            return self.formula(node, shapes)
        except KeyError:
            return None


def _conv(weights: int) -> Callable[[onnx.NodeProto, Shapes], int]:
    """``(O, I / groups, ...)`` weights: every output value sums one kernel."""
    return lambda node, shapes: prod(shapes[node.output[0]]) * prod(shapes[node.input[weights]][1:])


def _conv_transpose(node: onnx.NodeProto, shapes: Shapes) -> int:
    return prod(shapes[node.input[0]]) * prod(shapes[node.input[1]][1:])


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> int:
    return prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> int:
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else 1]


MULTIPLYING: Final[Mapping[str, Multiplying]] = {
    "Conv": Multiplying(formula=_conv(1), writes_int8=True),
    "ConvTranspose": Multiplying(formula=_conv_transpose, writes_int8=True),
    "Gemm": Multiplying(formula=_gemm),
    "MatMul": Multiplying(formula=_matmul),
    "QLinearConv": Multiplying(formula=_conv(3), native="int8"),
    "QLinearMatMul": Multiplying(formula=_matmul, native="int8"),
    "ConvInteger": Multiplying(formula=_conv(1), native="int8-dynamic"),
    "MatMulInteger": Multiplying(formula=_matmul, native="int8-dynamic"),
}
"""Operator -> how it multiplies; any other one has no multiply-accumulates."""
