"""Biases of an int8 TFLite file that do not fit 32 bits, mended.

A bias is held at the product of the input's scale and its channel's. A channel whose weights are
almost zero has almost no scale, and LiteRT's quantizer cuts its bias off. Here such a channel gets
the least scale at which the bias fits; its weights, a hundred thousand times smaller than the
bias, are rounded again.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.export.tflite_schema import (
    WITH_WEIGHTS,
    constant_bytes,
    operator_name,
    pack_tflite,
    parse_tflite,
    type_name,
)

LARGEST_BIAS: Final = 2**30
"""int32 with room for the sum of products that is added to it."""


def read_biases(model: Any) -> dict[str, NDArray[np.float32]]:
    """Name to values of every constant bias of an fp32 model.

    Args:
        model: As ``parse_tflite`` reads it.
    """
    found = {}
    for op in _products(model):
        bias = model.subgraphs[0].tensors[op.inputs[2]]
        values = constant_bytes(model, bias)
        if type_name(bias) == "float32" and values is not None:
            found[bias.name.decode()] = values.view(np.float32)
    return found


def with_fitting_biases(content: bytes, biases: Mapping[str, NDArray[np.float32]]) -> bytes:
    """An int8 file whose biases hold what they should; ``content`` itself where they do.

    Args:
        content: What LiteRT's quantizer wrote.
        biases: Of the fp32 model, see :func:`read_biases`.

    Raises:
        ExportError: If a bias does not fit and its weights belong to several operators.
    """
    model = parse_tflite(content, source="the quantizer's file")
    tensors = model.subgraphs[0].tensors
    uses = Counter(i for op in model.subgraphs[0].operators for i in op.inputs)
    mended = False
    for op in _products(model):
        bias, weights = (tensors[op.inputs[i]] for i in (2, 1))
        real = biases.get(bias.name.decode())
        if real is None or type_name(bias) != "int32" or type_name(weights) != "int8":
            continue
        step = float(tensors[op.inputs[0]].quantization.scale[0])
        scales = np.asarray(weights.quantization.scale, np.float64)
        least = np.abs(real.astype(np.float64)) / LARGEST_BIAS / step
        least = least if len(scales) == len(real) else least.max(keepdims=True)
        if (least <= scales).all():
            continue
        if uses[op.inputs[1]] > 1 or uses[op.inputs[2]] > 1:
            raise ExportError(
                f"the bias {bias.name.decode()!r} does not fit 32 bits beside its weights, which "
                "several operators share; take --int8 weights"
            )
        _rescale(model, (weights, bias), real, step, np.maximum(scales, least))
        mended = True
    return pack_tflite(model) if mended else content


def _rescale(
    model: Any,
    pair: tuple[Any, Any],
    real: NDArray[np.float32],
    step: float,
    scales: NDArray[np.float64],
) -> None:
    """Round weights and bias of one operator to new scales of its channels."""
    weights, bias = pair
    before = np.asarray(weights.quantization.scale, np.float64)
    shape = [1] * len(weights.shape)
    shape[weights.quantization.quantizedDimension] = -1
    values = np.asarray(model.buffers[weights.buffer].data, np.uint8).view(np.int8)
    rounded = np.rint(values.reshape(weights.shape) * (before / scales).reshape(shape))
    scales32 = scales.astype(np.float32)
    products = scales32.astype(np.float64) * step
    model.buffers[weights.buffer].data = rounded.astype(np.int8).reshape(-1).view(np.uint8)
    model.buffers[bias.buffer].data = np.rint(real / products).astype(np.int32).view(np.uint8)
    weights.quantization.scale = scales32
    bias.quantization.scale = products.astype(np.float32)


def _products(model: Any) -> list[Any]:
    """Operators with constant weights and a bias."""
    return [
        op
        for op in model.subgraphs[0].operators
        if operator_name(model, op) in WITH_WEIGHTS and len(op.inputs) > 2 and op.inputs[2] >= 0
    ]
