"""Tensors of an int8 ONNX file: what is stored, and what turns values into 8 bits and back."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgekd.export.quantization.onnx_graph import OnnxGraph, channel_axis
from edgekd.export.quantization.onnx_types import OnnxTypes
from edgekd.export.quantization.recipe import Range

_LARGEST_BIAS: Final = 2**30  # int32 with room for the sum it is added to
_UNIT_RANGE: Final = frozenset({"Sigmoid", "Softmax", "HardSigmoid"})


class Int8Tensors:
    """Nodes and stored tensors of one file, while it is written.

    Args:
        graph: Of the fp32 model.
        ranges: Float activation to its extremes.
        types: Which 8-bit types suit the processor.
    """

    def __init__(self, graph: OnnxGraph, ranges: Mapping[str, Range], types: OnnxTypes) -> None:
        self._graph, self._ranges, self._types = graph, ranges, types
        self.nodes: list[onnx.NodeProto] = []
        """In the order of execution; who writes operators appends them."""
        self.stored: dict[str, onnx.TensorProto] = {}
        self.quantized: dict[str, str] = {}
        """Activation to the tensor whose scale it shares: it exists in 8 bits."""
        self.dequantized: dict[str, str] = {}
        """Activation to its 8-bit value as a float, where a float operator made it."""

    # -- activations -----------------------------------------------------------------------------

    def as_int8(self, name: str) -> str:
        """The activation as a float that came from 8 bits."""
        if name in self.quantized:
            return name
        if name not in self.dequantized:
            self.set_range(name, "")
            self.quantize(name, name)
            self.dequantize(f"{name}/q", f"{name}/dq", name)
            self.dequantized[name] = f"{name}/dq"
        return self.dequantized[name]

    def set_range(self, name: str, operator: str, *, like: str | None = None) -> None:
        """Store scale and zero point of an activation that an operator makes.

        Args:
            name: The activation.
            operator: The type of what makes it.
            like: An activation with the same values, if the range of that one is known.
        """
        limits = (0.0, 1.0) if operator in _UNIT_RANGE else self._ranges[like or name]
        scale, zero = self._types.activation(limits)
        self.store(f"{name}/scale", scale)
        self.store(f"{name}/zero", zero)

    def scale_holder(self, name: str) -> str:
        """The activation whose scale and zero point an activation has."""
        return self.quantized.get(name, name)

    def scale(self, name: str) -> NDArray[Any]:
        """Of an activation, ``()``."""
        return numpy_helper.to_array(self.stored[f"{self.scale_holder(name)}/scale"])

    def quantize(self, source: str, name: str, *, like: str | None = None) -> None:
        """Append what puts ``source`` into 8 bits, with the scale of ``like``, or its own."""
        like = like or name
        self.nodes.append(
            helper.make_node(
                "QuantizeLinear",
                [source, f"{like}/scale", f"{like}/zero"],
                [f"{name}/q"],
                name=f"{name}/q",
            )
        )

    def dequantize(self, source: str, target: str, like: str) -> None:
        """Append what makes 8 bits a float again."""
        self.nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [source, f"{like}/scale", f"{like}/zero"],
                [target],
                name=f"{target}/from8",
            )
        )

    # -- constants -------------------------------------------------------------------------------

    def is_real_constant(self, name: str) -> bool:
        """Whether a name is a float constant."""
        values = self._graph.constants.get(name)
        return values is not None and values.dtype == np.float32

    def int8_constant(self, name: str) -> str:
        """A constant operand of an addition or multiplication, one scale for all of it."""
        target = f"{name}/from8"
        if target not in self.dequantized:
            self.dequantized[target] = name
            self.store_constant(target, self._graph.constants[name])
        return target

    def store_constant(self, target: str, values: NDArray[Any]) -> None:
        """Store values in 8 bits and append what makes them ``target``."""
        scale, zero = self._types.activation((float(values.min()), float(values.max())))
        limits = np.iinfo(zero.dtype)
        rounded = np.clip(np.rint(values / scale) + int(zero), limits.min, limits.max)
        self.store(f"{target}/value", rounded.astype(zero.dtype))
        self.store(f"{target}/scale", scale)
        self.store(f"{target}/zero", zero)
        self.dequantize(f"{target}/value", target, target)

    def int8_weights(self, node: onnx.NodeProto, bias: str) -> str:
        """A product's weights as a float that came from 8 bits."""
        weights = self._graph.constants[node.input[1]]
        axis, name = channel_axis(node, weights), f"{node.name}::w"
        least: Any = 0.0
        if bias:  # a bias must fit 32 bits at the scale of the product
            step = float(self.scale(node.input[0]))
            least = np.abs(self._graph.constants[bias]).astype(np.float64) / _LARGEST_BIAS / step
        values, scales = rounded(weights, axis=axis, bits=self._types.weight_bits, least=least)
        self.store(name, values)
        self.store(f"{name}/scale", scales)
        self.store(f"{name}/zero", np.zeros(len(scales), np.int8))
        return self._per_channel(name, axis=axis)

    def int32_bias(self, node: onnx.NodeProto, bias: str) -> str:
        """A product's bias as a float that came from 32 bits, in steps of the products."""
        step = self.scale(node.input[0]).astype(np.float64)
        scales = numpy_helper.to_array(self.stored[f"{node.name}::w/scale"]) * step
        name = f"{node.name}::b"
        values = np.rint(self._graph.constants[bias].astype(np.float64) / scales)
        self.store(name, values.astype(np.int32))
        self.store(f"{name}/scale", scales.astype(np.float32))
        self.store(f"{name}/zero", np.zeros(len(values), np.int32))
        return self._per_channel(name, axis=0)

    def store(self, name: str, values: Any) -> None:
        """Keep an array as an initializer."""
        self.stored[name] = numpy_helper.from_array(np.asarray(values), name)

    def _per_channel(self, name: str, *, axis: int) -> str:
        """The float tensor of a stored one with a scale per channel."""
        self.nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [name, f"{name}/scale", f"{name}/zero"],
                [f"{name}/from8"],
                name=f"{name}/from8",
                axis=axis,
            )
        )
        return f"{name}/from8"


def rounded(
    weights: NDArray[Any], *, axis: int, bits: int, least: Any = 0.0
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric values of at most 8 bits and one scale per output channel.

    Args:
        weights: Any shape.
        axis: Of the output channels.
        bits: 7 or 8.
        least: Smallest scale, one or one per channel.

    >>> values, scales = rounded(np.float32([[127, -1], [2, 0]]), axis=0, bits=8)
    >>> values.tolist(), round(float(scales[0]), 4)
    ([[127, -1], [127, 0]], 1.0)
    """
    limit = 2 ** (bits - 1) - 1
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights.astype(np.float64)).max(axis=others)
    scales = np.maximum(np.maximum(largest / limit, least), 1e-12).astype(np.float32)
    shape = [1] * weights.ndim
    shape[axis] = -1
    values = np.clip(np.rint(weights / scales.reshape(shape)), -limit, limit)
    return values.astype(np.int8), scales
