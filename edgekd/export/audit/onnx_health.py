"""Scales, 8-bit weights and biases of an ONNX file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

from edgekd.export.audit.health import Layer, Quantized
from edgekd.export.audit.onnx_reading import read_onnx
from edgekd.export.quantization.onnx_graph import channel_axis
from edgekd.runtimes.session import Arrays

_QUANTIZERS: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
_PRODUCTS: Final = frozenset({"Conv", "Gemm", "MatMul", "MatMulInteger"})

Nodes = Mapping[str, onnx.NodeProto]


def quantized_onnx(path: Path) -> Quantized:
    """Read back what is quantized in an ONNX file.

    Raises:
        BundleError: If it is damaged.
    """
    graph = read_onnx(path).graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    scales = {
        node.input[1]: np.atleast_1d(constants[node.input[1]])
        for node in graph.node
        if node.op_type in _QUANTIZERS and node.input[1] in constants
    }
    layers = (_layer(node, constants, producers) for node in graph.node)
    return Quantized(scales=scales, layers=tuple(layer for layer in layers if layer is not None))


def _layer(node: onnx.NodeProto, constants: Arrays, producers: Nodes) -> Layer | None:
    if node.op_type not in _PRODUCTS:
        return None
    name = _stored(node.input[1], producers)
    weights = constants.get(name)
    if weights is None or weights.dtype != np.int8:
        return None
    axis = channel_axis(node, weights)
    bias = None
    if node.op_type != "MatMulInteger" and len(node.input) > 2:
        bias = constants.get(_stored(node.input[2], producers))
    behind = producers.get(node.input[1])
    dequantized = behind is not None and behind.op_type == "DequantizeLinear"
    return Layer(
        name=name,
        weights=np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1),
        bias=bias if bias is not None and bias.dtype == np.int32 else None,
        sums_in_int32=dequantized or node.op_type == "MatMulInteger",
    )


def _stored(name: str, producers: Nodes) -> str:
    """The constant behind ``DequantizeLinear``, or behind ``Cast`` and ``Mul``."""
    node = producers.get(name)
    while node is not None and node.op_type in ("DequantizeLinear", "Mul", "Cast"):
        name = node.input[0]
        node = producers.get(name)
    return name
