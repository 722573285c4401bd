"""Scales, 8-bit weights and biases of a TFLite file."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.export.audit.health import Layer, Quantized
from edgekd.export.tflite_schema import constant_bytes, operator_name, read_tflite, type_name

_CHANNEL_AXIS: Final = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}


def quantized_tflite(path: Path) -> Quantized:
    """Read back what is quantized in a TFLite file.

    Raises:
        BundleError: If it is damaged.
    """
    model = read_tflite(path)
    graph = model.subgraphs[0]
    scales = {
        tensor.name.decode(): np.asarray(tensor.quantization.scale, np.float32)
        for tensor in graph.tensors
        if tensor.quantization is not None
        and tensor.quantization.scale is not None
        and len(tensor.quantization.scale)
    }
    widened = {
        op.outputs[0]: op.inputs[0]
        for op in graph.operators
        if operator_name(model, op) == "DEQUANTIZE"
    }
    layers = (_layer(model, op, widened) for op in graph.operators)
    return Quantized(scales=scales, layers=tuple(layer for layer in layers if layer is not None))


def _layer(model: Any, op: Any, widened: dict[int, int]) -> Layer | None:
    axis = _CHANNEL_AXIS.get(operator_name(model, op))
    if axis is None:
        return None
    tensors = model.subgraphs[0].tensors
    weights = tensors[widened.get(op.inputs[1], op.inputs[1])]
    values = _values(model, weights, "int8")
    if values is None:
        return None
    in_integers = type_name(tensors[op.inputs[0]]) == "int8"
    has_bias = len(op.inputs) > 2 and op.inputs[2] >= 0
    return Layer(
        name=weights.name.decode(),
        weights=np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1),
        bias=_values(model, tensors[op.inputs[2]], "int32") if has_bias else None,
        sums_in_int32=in_integers,
    )


def _values(model: Any, tensor: Any, dtype: str) -> NDArray[Any] | None:
    """A constant of this type; ``None`` where it is none."""
    data = constant_bytes(model, tensor)
    if type_name(tensor) != dtype or data is None:
        return None
    return data.view(dtype).reshape([int(size) for size in tensor.shape])
