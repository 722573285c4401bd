"""Operators of an int8 ONNX file that take and give floats: only their weights have 8 bits.

Weights of operators that compute in float stand behind ``Cast`` and ``Mul``: ONNX Runtime computes
those once, when it loads the file, so such an operator runs exactly as in fp32.
(``DequantizeLinear`` it would compute again in every call, and keep the convolution away from its
blocked layout.)
"""

from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from edgekd.export.quantization.onnx_graph import OnnxGraph, channel_axis, integer, weights_input
from edgekd.export.quantization.onnx_tensors import Int8Tensors, rounded
from edgekd.export.quantization.onnx_types import OnnxTypes

_SMALLEST_STORED: Final = 256  # values: storing fewer in 8 bits saves nothing


def add_dynamic(
    node: onnx.NodeProto, graph: OnnxGraph, tensors: Int8Tensors, types: OnnxTypes
) -> None:
    """Append a matrix product whose activations are quantized while running.

    Args:
        node: ``MatMul`` or ``Gemm`` with constant weights.
        graph: Of the fp32 model.
        tensors: Takes nodes and weights.
        types: How many bits the weights have.
    """
    weights = graph.constants[node.input[1]]
    if node.op_type == "Gemm" and integer(node, "transB", 0):
        weights = weights.T
    name, x = f"{node.name}::dynamic", node.input[0]
    values, scales = rounded(weights, axis=1, bits=types.weight_bits)
    tensors.store(f"{name}/w", values)
    tensors.store(f"{name}/w_scale", scales)
    tensors.store(f"{name}/w_zero", np.zeros(len(scales), np.int8))
    if f"{x}/dynamic" not in tensors.dequantized:
        outputs = [f"{x}/dynamic", f"{x}/dynamic_scale", f"{x}/dynamic_zero"]
        tensors.nodes.append(
            helper.make_node("DynamicQuantizeLinear", [x], outputs, name=f"{x}/dynamic")
        )
        tensors.dequantized[f"{x}/dynamic"] = x
    bias = node.input[2] if len(node.input) > 2 else ""
    product = f"{name}/product" if bias else node.output[0]
    operands = [f"{x}/dynamic", f"{name}/w", f"{x}/dynamic_zero", f"{name}/w_zero"]
    steps = [
        ("Mul", [f"{x}/dynamic_scale", f"{name}/w_scale"], f"{name}/scale"),
        ("MatMulInteger", operands, f"{name}/sum"),
        ("Cast", [f"{name}/sum"], f"{name}/sum_real"),
        ("Mul", [f"{name}/sum_real", f"{name}/scale"], product),
    ]
    if bias:
        steps.append(("Add", [product, bias], node.output[0]))
    for operator, inputs, output in steps:
        more: dict[str, Any] = {"to": TensorProto.FLOAT} if operator == "Cast" else {}
        tensors.nodes.append(helper.make_node(operator, inputs, [output], name=output, **more))


def add_weights_only(node: onnx.NodeProto, graph: OnnxGraph, tensors: Int8Tensors) -> None:
    """Append an operator that computes in float, from weights that are stored in 8 bits.

    Args:
        node: One with weights; small or integer ones stay as they are.
        graph: Of the fp32 model.
        tensors: Takes nodes and weights.
    """
    index = weights_input(node)
    weights = graph.constants[node.input[index]]
    if weights.size < _SMALLEST_STORED or weights.dtype != np.float32:
        tensors.nodes.append(node)
        return
    axis = channel_axis(node, weights)
    new = onnx.NodeProto()
    new.CopyFrom(node)
    stored = f"{node.input[index]}/axis{axis}"
    new.input[index] = stored
    if stored not in tensors.dequantized:
        tensors.dequantized[stored] = node.input[index]
        values, scales = rounded(weights, axis=axis, bits=8)
        shape = [1] * weights.ndim
        shape[axis] = -1
        tensors.store(f"{stored}/w", values)
        tensors.store(f"{stored}/w_scale", scales.reshape(shape))
        cast, to = f"{stored}/w_real", TensorProto.FLOAT
        tensors.nodes += [
            helper.make_node("Cast", [f"{stored}/w"], [cast], name=cast, to=to),
            helper.make_node("Mul", [cast, f"{stored}/w_scale"], [stored], name=stored),
        ]
    tensors.nodes.append(new)
