"""An int8 ONNX file written operator by operator: each computes as its recipe says.

Static operators stand between ``DequantizeLinear`` and ``QuantizeLinear``, the form that ONNX
Runtime fuses into its int8 kernels. Weights of operators that stay in float are stored in 8 bits
too, behind ``Cast`` and ``Mul``: ONNX Runtime computes those once, when it loads the file, so such
an operator runs exactly as in fp32. (``DequantizeLinear`` it would compute again in every call,
and keep the convolution away from its blocked layout.)
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd.export.quantization.onnx_graph import (
    PASSING,
    PRODUCTS,
    OnnxGraph,
    channel_axis,
    integer,
    real,
)
from edgekd.export.quantization.onnx_types import OnnxTypes
from edgekd.export.quantization.recipe import Range
from edgekd.export.quantization.units import Choices

_SMALLEST_STORED: Final = 256  # values: storing fewer in 8 bits saves nothing
_LARGEST_BIAS: Final = 2**30  # int32 with room for the sum it is added to
_HARD: Final = {"HardSwish": (1 / 6, 0.5), "HardSigmoid": (0.2, 0.5)}  # ONNX's own defaults
_UNIT_RANGE: Final = frozenset({"Sigmoid", "Softmax", "HardSigmoid"})


def write_mixed(
    graph: OnnxGraph, choices: Choices, ranges: Mapping[str, Range], types: OnnxTypes
) -> onnx.ModelProto:
    """The int8 form of an fp32 model.

    Args:
        graph: Of the fp32 model.
        choices: Unit to how it computes.
        ranges: Float activation to its extremes.
        types: Which 8-bit types suit the processor.
    """
    return _Writer(graph, choices, ranges, types).write()


class _Writer:
    def __init__(
        self,
        graph: OnnxGraph,
        choices: Choices,
        ranges: Mapping[str, Range],
        types: OnnxTypes,
    ) -> None:
        self._graph, self._choices, self._types = graph, choices, types
        self._ranges = ranges
        self._nodes: list[onnx.NodeProto] = []
        self._stored: dict[str, onnx.TensorProto] = {}
        self._quantized: dict[str, str] = {}
        """Activation to the tensor whose scale it shares: it exists in 8 bits."""
        self._dequantized: dict[str, str] = {}
        """Activation to its 8-bit value as a float, where a float operator made it."""

    def write(self) -> onnx.ModelProto:
        for node in self._graph.model.graph.node:
            self._add(node)
        result = onnx.ModelProto()
        result.CopyFrom(self._graph.model)
        graph = result.graph
        del graph.node[:], graph.value_info[:], graph.initializer[:]
        graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input} | set(self._graph.outputs)
        kept = [i for i in self._graph.model.graph.initializer if i.name in used]
        graph.initializer.extend([*kept, *self._stored.values()])
        return result

    # -- operators -------------------------------------------------------------------------------

    def _add(self, node: onnx.NodeProto) -> None:
        choice = self._choices.get(node.name)
        if choice is None and node.op_type in PASSING and node.input[0] in self._quantized:
            self._pass_on(node)
        elif choice == "static" and node.op_type in _HARD:
            self._hard(node)
        elif choice == "static":
            self._static(node)
        elif choice == "dynamic":
            self._dynamic(node)
        elif choice == "weights":
            self._weights(node)
        elif not self._is_tail_of_static(node):
            self._nodes.append(node)

    def _static(self, node: onnx.NodeProto) -> None:
        new = _copy(node)
        bias = node.input[2] if node.op_type in PRODUCTS and len(node.input) > 2 else ""
        for index, name in enumerate(node.input):
            if name in self._graph.floats:
                new.input[index] = self._as_int8(name)
            elif index == 1 and node.op_type in PRODUCTS:
                new.input[1] = self._int8_weights(node, bias)
            elif node.op_type not in PRODUCTS and self._is_real_constant(name):
                new.input[index] = self._int8_constant(name)
        if bias:
            new.input[2] = self._int32_bias(node, bias)
        self._finish(node, new)

    def _finish(self, node: onnx.NodeProto, new: onnx.NodeProto) -> None:
        """Append a static operator, its activation, and the quantization of what comes out."""
        tail = self._graph.tail(node)
        output = node.output[0] if tail is None else tail.output[0]
        if node.op_type in ("MatMul", "Gemm") and not self._only_int8_reads(output):
            self._nodes.append(new)  # its kernel can answer in float
            if tail is not None:
                self._nodes.append(tail)
            return
        last = new if tail is None else _copy(tail)
        self._nodes.extend([new] if tail is None else [new, last])
        last.output[0] = f"{output}/real"
        self._range_of(output, node.op_type)
        self._quantize(f"{output}/real", output)
        self._dequantize(f"{output}/q", output, output)
        self._quantized[output] = output

    def _is_tail_of_static(self, node: onnx.NodeProto) -> bool:
        """Whether it was appended together with the operator before it."""
        before = self._graph.producers.get(node.input[0]) if node.input else None
        if before is None or self._choices.get(before.name) != "static":
            return False
        tail = self._graph.tail(before)
        return tail is not None and tail.name == node.name

    def _pass_on(self, node: onnx.NodeProto) -> None:
        """Move 8-bit values, with the scale they have."""
        new = _copy(node)
        source = self._quantized[node.input[0]]
        for index, output in enumerate(node.output):
            new.output[index] = f"{output}/real"
            self._quantized[output] = source
        self._nodes.append(new)
        for output in node.output:
            self._quantize(f"{output}/real", output, like=source)
            self._dequantize(f"{output}/q", output, source)

    def _hard(self, node: onnx.NodeProto) -> None:
        """Hard sigmoid as an addition that saturates: ``clip(alpha * x + beta, 0, 1)``.

        ``alpha * x`` is the same 8-bit tensor read with another scale.
        """
        alpha, beta = _HARD[node.op_type]
        if node.op_type == "HardSigmoid":
            alpha, beta = real(node, "alpha", alpha), real(node, "beta", beta)
        x, name = node.input[0], node.output[0]
        whole = self._as_int8(x)
        source = self._quantized.get(x, x)
        scale = numpy_helper.to_array(self._stored[f"{source}/scale"])
        self._store(f"{name}/alpha_scale", np.float32(scale * alpha))
        part = f"{name}/part"
        self._nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [f"{x}/q", f"{name}/alpha_scale", f"{source}/zero"],
                [part],
                name=part,
            )
        )
        self._store_constant(f"{name}/beta", np.array(beta, np.float32))
        gate = helper.make_node("Add", [part, f"{name}/beta"], [name], name=node.name)
        if node.op_type == "HardSigmoid":
            self._finish(node, gate)
            return
        gate.name, gate.output[0] = f"{node.name}/gate", f"{name}/gate/real"
        self._nodes.append(gate)
        self._ranges = {**self._ranges, f"{name}/gate": (0.0, 1.0)}
        self._range_of(f"{name}/gate", "HardSigmoid")
        self._quantize(f"{name}/gate/real", f"{name}/gate")
        self._dequantize(f"{name}/gate/q", f"{name}/gate", f"{name}/gate")
        self._finish(node, helper.make_node("Mul", [whole, f"{name}/gate"], [name], name=node.name))

    def _dynamic(self, node: onnx.NodeProto) -> None:
        """A matrix product whose activations are quantized while running."""
        weights = self._graph.constants[node.input[1]]
        if node.op_type == "Gemm" and integer(node, "transB", 0):
            weights = weights.T
        name, x = f"{node.name}::dynamic", node.input[0]
        values, scales = self._rounded(weights, axis=1)
        self._store(f"{name}/w", values)
        self._store(f"{name}/w_scale", scales)
        self._store(f"{name}/w_zero", np.zeros(len(scales), np.int8))
        if f"{x}/dynamic" not in self._dequantized:
            outputs = [f"{x}/dynamic", f"{x}/dynamic_scale", f"{x}/dynamic_zero"]
            self._nodes.append(
                helper.make_node("DynamicQuantizeLinear", [x], outputs, name=f"{x}/dynamic")
            )
            self._dequantized[f"{x}/dynamic"] = x
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
            self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **more))

    def _weights(self, node: onnx.NodeProto) -> None:
        """In float, from weights that are stored in 8 bits."""
        weights = self._graph.constants[node.input[1]]
        if weights.size < _SMALLEST_STORED or weights.dtype != np.float32:
            self._nodes.append(node)
            return
        new, name, axis = _copy(node), node.input[1], channel_axis(node, weights)
        new.input[1] = f"{name}/axis{axis}"
        if new.input[1] not in self._dequantized:
            self._dequantized[new.input[1]] = name
            values, scales = self._rounded(weights, axis=axis, bits=8)
            shape = [1] * weights.ndim
            shape[axis] = -1
            self._store(f"{new.input[1]}/w", values)
            self._store(f"{new.input[1]}/w_scale", scales.reshape(shape))
            cast = f"{new.input[1]}/w_real"
            self._nodes += [
                helper.make_node(
                    "Cast", [f"{new.input[1]}/w"], [cast], name=cast, to=TensorProto.FLOAT
                ),
                helper.make_node(
                    "Mul", [cast, f"{new.input[1]}/w_scale"], [new.input[1]], name=new.input[1]
                ),
            ]
        self._nodes.append(new)

    # -- tensors ---------------------------------------------------------------------------------

    def _is_real_constant(self, name: str) -> bool:
        values = self._graph.constants.get(name)
        return values is not None and values.dtype == np.float32

    def _only_int8_reads(self, name: str) -> bool:
        """Whether every reader, behind operators that only move values, takes 8 bits."""
        readers = self._graph.readers.get(name, ())
        if not readers or name in self._graph.outputs:
            return False
        return all(
            all(self._only_int8_reads(output) for output in node.output)
            if node.op_type in PASSING
            else self._choices.get(node.name) == "static"
            for node in readers
        )

    def _as_int8(self, name: str) -> str:
        """The activation as a float that came from 8 bits."""
        if name in self._quantized:
            return name
        if name not in self._dequantized:
            self._range_of(name, "")
            self._quantize(name, name)
            self._dequantize(f"{name}/q", f"{name}/dq", name)
            self._dequantized[name] = f"{name}/dq"
        return self._dequantized[name]

    def _quantize(self, source: str, name: str, *, like: str | None = None) -> None:
        like = like or name
        self._nodes.append(
            helper.make_node(
                "QuantizeLinear",
                [source, f"{like}/scale", f"{like}/zero"],
                [f"{name}/q"],
                name=f"{name}/q",
            )
        )

    def _dequantize(self, source: str, target: str, like: str) -> None:
        self._nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [source, f"{like}/scale", f"{like}/zero"],
                [target],
                name=f"{target}/from8",
            )
        )

    def _range_of(self, name: str, operator: str) -> None:
        """Store scale and zero point of an activation."""
        limits = (0.0, 1.0) if operator in _UNIT_RANGE else self._ranges[name]
        scale, zero = self._types.activation(limits)
        self._store(f"{name}/scale", scale)
        self._store(f"{name}/zero", zero)

    def _int8_constant(self, name: str) -> str:
        """A constant operand of an addition or multiplication, one scale for all of it."""
        target = f"{name}/from8"
        if target not in self._dequantized:
            self._dequantized[target] = name
            self._store_constant(target, self._graph.constants[name])
        return target

    def _store_constant(self, target: str, values: NDArray[Any]) -> None:
        scale, zero = self._types.activation((float(values.min()), float(values.max())))
        limits = np.iinfo(zero.dtype)
        rounded = np.clip(np.rint(values / scale) + int(zero), limits.min, limits.max)
        self._store(f"{target}/value", rounded.astype(zero.dtype))
        self._store(f"{target}/scale", scale)
        self._store(f"{target}/zero", zero)
        self._dequantize(f"{target}/value", target, target)

    def _int8_weights(self, node: onnx.NodeProto, bias: str) -> str:
        weights = self._graph.constants[node.input[1]]
        axis, name = channel_axis(node, weights), f"{node.name}::w"
        least = 0.0
        if bias:  # a bias must fit 32 bits at the scale of the product
            source = self._quantized.get(node.input[0], node.input[0])
            step = float(numpy_helper.to_array(self._stored[f"{source}/scale"]))
            least = np.abs(self._graph.constants[bias]).astype(np.float64) / _LARGEST_BIAS / step
        values, scales = self._rounded(weights, axis=axis, least=least)
        self._store(name, values)
        self._store(f"{name}/scale", scales)
        self._store(f"{name}/zero", np.zeros(len(scales), np.int8))
        return self._per_channel(name, axis=axis)

    def _per_channel(self, name: str, *, axis: int) -> str:
        """The float tensor of a stored one with a scale per channel."""
        self._nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [name, f"{name}/scale", f"{name}/zero"],
                [f"{name}/from8"],
                name=f"{name}/from8",
                axis=axis,
            )
        )
        return f"{name}/from8"

    def _int32_bias(self, node: onnx.NodeProto, bias: str) -> str:
        source = self._quantized.get(node.input[0], node.input[0])
        step = numpy_helper.to_array(self._stored[f"{source}/scale"]).astype(np.float64)
        scales = numpy_helper.to_array(self._stored[f"{node.name}::w/scale"]) * step
        name = f"{node.name}::b"
        values = np.rint(self._graph.constants[bias].astype(np.float64) / scales)
        self._store(name, values.astype(np.int32))
        self._store(f"{name}/scale", scales.astype(np.float32))
        self._store(f"{name}/zero", np.zeros(len(values), np.int32))
        return self._per_channel(name, axis=0)

    def _rounded(
        self, weights: NDArray[Any], *, axis: int, bits: int | None = None, least: Any = 0.0
    ) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """Symmetric 8-bit values and one scale per output channel."""
        limit = 2 ** ((bits or self._types.weight_bits) - 1) - 1
        others = tuple(i for i in range(weights.ndim) if i != axis)
        largest = np.abs(weights.astype(np.float64)).max(axis=others)
        scales = np.maximum(np.maximum(largest / limit, least), 1e-12).astype(np.float32)
        shape = [1] * weights.ndim
        shape[axis] = -1
        values = np.clip(np.rint(weights / scales.reshape(shape)), -limit, limit)
        return values.astype(np.int8), scales

    def _store(self, name: str, values: Any) -> None:
        self._stored[name] = numpy_helper.from_array(np.asarray(values), name)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    new = onnx.NodeProto()
    new.CopyFrom(node)
    return new
