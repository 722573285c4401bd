"""An int8 ONNX file written operator by operator: each computes as its recipe says.

Static operators stand between ``DequantizeLinear`` and ``QuantizeLinear``, the form that ONNX
Runtime fuses into its int8 kernels.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx
from onnx import helper

from edgekd.export.quantization.onnx_float import add_dynamic, add_weights_only
from edgekd.export.quantization.onnx_graph import PASSING, PRODUCTS, OnnxGraph, real
from edgekd.export.quantization.onnx_tensors import Int8Tensors
from edgekd.export.quantization.onnx_types import OnnxTypes
from edgekd.export.quantization.recipe import Range
from edgekd.export.quantization.units import Choices

_HARD: Final = {"HardSwish": (1 / 6, 0.5), "HardSigmoid": (0.2, 0.5)}  # ONNX's own defaults


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
    return _Writer(graph, choices, Int8Tensors(graph, ranges, types), types).write()


class _Writer:
    def __init__(
        self, graph: OnnxGraph, choices: Choices, tensors: Int8Tensors, types: OnnxTypes
    ) -> None:
        self._graph, self._choices, self._types = graph, choices, types
        self._tensors, self._nodes = tensors, tensors.nodes

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
        graph.initializer.extend([*kept, *self._tensors.stored.values()])
        return result

    def _add(self, node: onnx.NodeProto) -> None:
        choice = self._choices.get(node.name)
        moves_int8 = node.op_type in PASSING and node.input[0] in self._tensors.quantized
        if choice is None and moves_int8:
            self._pass_on(node)
        elif choice is None and self._brings_input_to_int8(node):
            self._enter(node)
        elif choice == "static" and node.op_type in _HARD:
            self._hard(node)
        elif choice == "static":
            self._static(node)
        elif choice == "dynamic":
            add_dynamic(node, self._graph, self._tensors, self._types)
        elif choice == "weights":
            add_weights_only(node, self._graph, self._tensors)
        elif not self._is_tail_of_static(node):
            self._nodes.append(node)

    def _static(self, node: onnx.NodeProto) -> None:
        new = _copy(node)
        bias = node.input[2] if node.op_type in PRODUCTS and len(node.input) > 2 else ""
        for index, name in enumerate(node.input):
            if name in self._graph.floats:
                new.input[index] = self._tensors.as_int8(name)
            elif index == 1 and node.op_type in PRODUCTS:
                new.input[1] = self._tensors.int8_weights(node, bias)
            elif node.op_type not in PRODUCTS and self._tensors.is_real_constant(name):
                new.input[index] = self._tensors.int8_constant(name)
        if bias:
            new.input[2] = self._tensors.int32_bias(node, bias)
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
        self._tensors.set_range(output, node.op_type)
        self._tensors.quantize(f"{output}/real", output)
        self._tensors.dequantize(f"{output}/q", output, output)
        self._tensors.quantized[output] = output

    def _is_tail_of_static(self, node: onnx.NodeProto) -> bool:
        """Whether it was appended together with the operator before it."""
        before = self._graph.producers.get(node.input[0]) if node.input else None
        if before is None or self._choices.get(before.name) != "static":
            return False
        tail = self._graph.tail(before)
        return tail is not None and tail.name == node.name

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

    def _pass_on(self, node: onnx.NodeProto) -> None:
        """Move 8-bit values, with the scale they have."""
        new = _copy(node)
        source = self._tensors.quantized[node.input[0]]
        for index, output in enumerate(node.output):
            new.output[index] = f"{output}/real"
            self._tensors.quantized[output] = source
        self._nodes.append(new)
        for output in node.output:
            self._tensors.quantize(f"{output}/real", output, like=source)
            self._tensors.dequantize(f"{output}/q", output, source)

    def _brings_input_to_int8(self, node: onnx.NodeProto) -> bool:
        """Whether an operator moves what is fed to the model, for none but readers of 8 bits."""
        return (
            node.op_type in PASSING
            and len(node.output) == 1
            and node.input[0] in self._graph.floats
            and node.input[0] not in self._graph.producers
            and self._only_int8_reads(node.output[0])
        )

    def _enter(self, node: onnx.NodeProto) -> None:
        """Quantize what is fed to the model before it is moved: then nothing is left in float."""
        output, tensors = node.output[0], self._tensors
        tensors.set_range(output, node.op_type, like=self._first_read(output))
        before = f"{output}/before"
        tensors.quantize(node.input[0], before, like=output)
        tensors.dequantize(f"{before}/q", before, output)
        new = _copy(node)
        new.input[0], new.output[0] = before, f"{output}/real"
        self._nodes.append(new)
        tensors.quantized[output] = output
        tensors.quantize(f"{output}/real", output)
        tensors.dequantize(f"{output}/q", output, output)

    def _first_read(self, name: str) -> str:
        """The activation that an int8 operator reads, behind operators that only move values."""
        reader = self._graph.readers[name][0]
        return self._first_read(reader.output[0]) if reader.op_type in PASSING else name

    def _hard(self, node: onnx.NodeProto) -> None:
        """Hard sigmoid as an addition that saturates: ``clip(alpha * x + beta, 0, 1)``.

        ``alpha * x`` is the same 8-bit tensor read with another scale.
        """
        alpha, beta = _HARD[node.op_type]
        if node.op_type == "HardSigmoid":
            alpha, beta = real(node, "alpha", alpha), real(node, "beta", beta)
        tensors, x, name = self._tensors, node.input[0], node.output[0]
        whole = tensors.as_int8(x)
        tensors.store(f"{name}/alpha_scale", np.float32(tensors.scale(x) * alpha))
        part = f"{name}/part"
        self._nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [f"{x}/q", f"{name}/alpha_scale", f"{tensors.scale_holder(x)}/zero"],
                [part],
                name=part,
            )
        )
        tensors.store_constant(f"{name}/beta", np.array(beta, np.float32))
        gate = helper.make_node("Add", [part, f"{name}/beta"], [name], name=node.name)
        if node.op_type == "HardSigmoid":
            self._finish(node, gate)
            return
        gate.name, gate.output[0] = f"{node.name}/gate", f"{name}/gate/real"
        self._nodes.append(gate)
        tensors.set_range(f"{name}/gate", "HardSigmoid")
        tensors.quantize(f"{name}/gate/real", f"{name}/gate")
        tensors.dequantize(f"{name}/gate/q", f"{name}/gate", f"{name}/gate")
        self._finish(node, helper.make_node("Mul", [whole, f"{name}/gate"], [name], name=node.name))


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    new = onnx.NodeProto()
    new.CopyFrom(node)
    return new
