"""The operators of an ONNX file, read without the onnx package, which a device does not have.

Protocol buffers are a flat sequence of (field number, value); field numbers below are those of
``onnx.proto3`` (ONNX IR specification). Values that are not asked for are skipped unread.
"""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekd.errors import BundleError
from edgekd.runtimes.precision import OperatorKind, file_precision

_MODEL_GRAPH: Final = 7
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_OP_TYPE = 1, 2, 4
_TENSOR_DATA_TYPE, _TENSOR_NAME = 2, 8
_INT8_TYPE: Final = 3  # TensorProto.DataType
_FLOAT16: Final = 10

_MULTIPLYING: Final = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
_INT8: Final = frozenset({"QLinearConv", "QLinearMatMul", "QGemm"})
_DYNAMIC: Final = frozenset(
    {"ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}
)


@dataclass(frozen=True)
class _Node:
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def onnx_precision(path: Path) -> str:
    """What the file computes in, told from its convolutions and matrix products.

    A product is int8 where both its operands come from ``DequantizeLinear`` (the QDQ form that
    ONNX Runtime fuses) or where it is a quantized operator itself.

    Raises:
        BundleError: If the file is not a well-formed protocol buffer.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return file_precision(_kinds(*_graph(data)))
    except (OSError, ValueError, IndexError) as error:
        raise BundleError(f"{path}: not an ONNX file; export it again") from error


def _kinds(nodes: Sequence[_Node], initializers: Mapping[str, int]) -> Iterator[OperatorKind]:
    dequantized = {o for node in nodes if node.op_type == "DequantizeLinear" for o in node.outputs}
    stored = _stored_in_8_bits(nodes, initializers)
    for node in nodes:
        kind = _kind(node, dequantized, stored, initializers)
        if kind is not None:
            yield kind


def _kind(
    node: _Node, dequantized: set[str], stored: set[str], initializers: Mapping[str, int]
) -> OperatorKind | None:
    if node.op_type in _INT8:
        return "int8"
    if node.op_type in _DYNAMIC:
        return "int8-dynamic"
    if node.op_type not in _MULTIPLYING:
        return None
    activation, weights = node.inputs[:2]
    if weights in stored:
        return "int8-weights"
    if weights in dequantized:
        return "int8" if activation in dequantized else "int8-weights"
    return "fp16" if initializers.get(weights) == _FLOAT16 else "fp32"


def _stored_in_8_bits(nodes: Sequence[_Node], initializers: Mapping[str, int]) -> set[str]:
    """Weights behind ``Cast`` and ``Mul``, which a runtime computes once, when it loads."""
    widened = {
        node.outputs[0]
        for node in nodes
        if node.op_type == "Cast" and initializers.get(node.inputs[0]) == _INT8_TYPE
    }
    return {
        node.outputs[0] for node in nodes if node.op_type == "Mul" and widened & set(node.inputs)
    }


def _graph(data: mmap.mmap) -> tuple[list[_Node], dict[str, int]]:
    nodes: list[_Node] = []
    initializers: dict[str, int] = {}
    for number, (start, stop) in _fields(data, 0, len(data)):
        if number != _MODEL_GRAPH:
            continue
        for field, (begin, end) in _fields(data, start, stop):
            if field == _GRAPH_NODE:
                nodes.append(_node(data, begin, end))
            elif field == _GRAPH_INITIALIZER:
                name, data_type = _initializer(data, begin, end)
                initializers[name] = data_type
    return nodes, initializers


def _node(data: mmap.mmap, start: int, stop: int) -> _Node:
    texts: dict[int, list[str]] = {_NODE_INPUT: [], _NODE_OUTPUT: [], _NODE_OP_TYPE: []}
    for number, (begin, end) in _fields(data, start, stop):
        if number in texts:
            texts[number].append(data[begin:end].decode())
    return _Node(
        op_type="".join(texts[_NODE_OP_TYPE]),
        inputs=tuple(texts[_NODE_INPUT]),
        outputs=tuple(texts[_NODE_OUTPUT]),
    )


def _initializer(data: mmap.mmap, start: int, stop: int) -> tuple[str, int]:
    name, data_type = "", 0
    for number, (begin, end) in _fields(data, start, stop):
        if number == _TENSOR_NAME:
            name = data[begin:end].decode()
        elif number == _TENSOR_DATA_TYPE:
            data_type, _ = _varint(data, begin)
    return name, data_type


def _fields(data: mmap.mmap, position: int, stop: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Field number and the range of bytes of each value in ``data[position:stop]``."""
    while position < stop:
        key, position = _varint(data, position)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            _, end = _varint(data, position)
        elif wire_type == 2:
            length, position = _varint(data, position)
            end = position + length
        elif wire_type in (1, 5):
            end = position + (8 if wire_type == 1 else 4)
        else:
            raise ValueError(f"wire type {wire_type}")
        if end > stop:
            raise ValueError("a field runs past its message")
        yield number, (position, end)
        position = end


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if not byte & 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number longer than 64 bits")
