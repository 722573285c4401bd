"""Hard swish of an int8 TFLite file in operators that have fast int8 kernels.

XNNPACK takes no int8 HARD_SWISH: LiteRT's own kernel for it is slower than the whole rest of a
mobile network, and cuts the graph in pieces. ``x * clip(x / 6 + 1/2, 0, 1)`` is a multiplication,
an addition that saturates where the clipping is due, and a multiplication; it takes all of these.
"""

import copy
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgekd.export.quantization.tflite_scales import LARGEST_RATIO, LEAST_ADDEND
from edgekd.export.tflite_schema import operator_name, pack_tflite, parse_tflite, type_name

_GATE_SCALE: Final = 1 / 255  # from 0 to 1, where it saturates
_GATE_ZERO: Final = -128
_LEAST_PRODUCT: Final = 1.01 * 2**-16  # of the output's scale, by XNNPACK's qs8 multiplication
_LARGEST_VALUE: Final = 127  # how constants are stored: all of their precision is in the scale


def with_fast_hard_swish(content: bytes) -> bytes:
    """The file with each int8 HARD_SWISH in three operators; ``content`` itself without any.

    One whose scales the kernels cannot take stays as it is.

    Args:
        content: What LiteRT's quantizer wrote.
    """
    model = parse_tflite(content, source="the quantizer's file")
    graph, operators = model.subgraphs[0], []
    for op in graph.operators:
        if operator_name(model, op) == "HARD_SWISH" and _takes_apart(graph, op):
            operators += _Parts(model, op).operators()
        else:
            operators.append(op)
    if len(operators) == len(graph.operators):
        return content
    graph.operators = operators
    return pack_tflite(model)


def _takes_apart(graph: Any, op: Any) -> bool:
    x, answer = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if type_name(x) != "int8" or type_name(answer) != "int8":
        return False
    sixth = _scale(x) / 6
    fits = LEAST_ADDEND < sixth / _GATE_SCALE < LARGEST_RATIO
    return fits and _LEAST_PRODUCT < _scale(x) * _GATE_SCALE / _scale(answer) < LARGEST_RATIO


def _scale(tensor: Any) -> float:
    return float(tensor.quantization.scale[0])


class _Parts:
    """What takes the place of one operator."""

    def __init__(self, model: Any, op: Any) -> None:
        self._model, self._tensors = model, model.subgraphs[0].tensors
        self._x, self._answer = int(op.inputs[0]), int(op.outputs[0])
        self._name = self._tensors[self._answer].name.decode()

    def operators(self) -> list[Any]:
        """``x / 6``, the gate, and the product of both."""
        x = self._tensors[self._x].quantization
        # the same 8-bit values as x, at a sixth of its scale: nothing is rounded
        sixth = self._activation("sixth", float(x.scale[0]) / 6, int(x.zeroPoint[0]))
        gate = self._activation("gate", _GATE_SCALE, _GATE_ZERO)
        by_six, half = self._constant("by_six", 1 / 6), self._constant("half", 1 / 2)
        return [
            self._operator("MUL", [self._x, by_six], sixth),
            self._operator("ADD", [sixth, half], gate),
            self._operator("MUL", [self._x, gate], self._answer),
        ]

    def _activation(self, part: str, scale: float, zero_point: int) -> int:
        return self._add(part, self._tensors[self._answer].shape, scale, zero_point, buffer=0)

    def _constant(self, part: str, value: float) -> int:
        buffer = schema.BufferT()
        buffer.data = np.array([_LARGEST_VALUE], np.int8).view(np.uint8)
        self._model.buffers.append(buffer)
        number = len(self._model.buffers) - 1
        return self._add(part, [1], value / _LARGEST_VALUE, 0, buffer=number)

    def _add(self, part: str, shape: Any, scale: float, zero_point: int, *, buffer: int) -> int:
        tensor = copy.copy(self._tensors[self._answer])
        tensor.name, tensor.shape, tensor.buffer = f"{self._name}/{part}".encode(), shape, buffer
        tensor.shapeSignature = None
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = [scale]
        tensor.quantization.zeroPoint = [zero_point]
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _operator(self, name: str, inputs: list[int], output: int) -> Any:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 2  # since which it takes int8
        self._model.operatorCodes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex = len(self._model.operatorCodes) - 1
        op.inputs, op.outputs = inputs, [output]
        adds, kinds = name == "ADD", schema.BuiltinOptions
        op.builtinOptions = schema.AddOptionsT() if adds else schema.MulOptionsT()
        op.builtinOptionsType = kinds.AddOptions if adds else kinds.MulOptions
        return op
