"""Operators of a TFLite file's main graph, read from the flatbuffer."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from edgekd.export.audit import INT8_ARITHMETIC, FileFacts, Operator, facts
from edgekd.export.tflite_schema import (
    BUILTIN_OPERATORS,
    constant_bytes,
    operator_name,
    read_tflite,
    type_name,
)
from edgekd.records import TensorSpec
from edgekd.runtimes.encoding import layout_of
from edgekd.runtimes.precision import OperatorKind

Shape = tuple[int, ...]

_QUANTIZERS: Final = frozenset({"QUANTIZE", "DEQUANTIZE"})
_INTEGERS: Final = frozenset({"int8", "uint8", "int16"})
_WEIGHT_TYPES: Final = frozenset({"float16", "float32", "int4", "int8"})
_OPAQUE: Final = frozenset(
    {
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "CALL",
        "CALL_ONCE",
        "CONV_3D_TRANSPOSE",
        "DELEGATE",
        "IF",
        "LSTM",
        "RNN",
        "STABLEHLO_COMPOSITE",
        "STABLEHLO_CONVOLUTION",
        "STABLEHLO_CUSTOM_CALL",
        "STABLEHLO_DOT_GENERAL",
        "STABLEHLO_WHILE",
        "SVDF",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        "WHILE",
    }
)
"""Operators that may multiply and whose multiplications are not counted here; custom ones too."""


def audit_tflite(path: Path) -> FileFacts:
    """Read a TFLite file back.

    Raises:
        BundleError: If it is damaged.
    """
    model = read_tflite(path)
    graph = model.subgraphs[0]
    tensors = [_tensor(model, tensor) for tensor in graph.tensors]
    # a weight stored in fewer bits and widened on its way into a float operator
    stored = {
        op.outputs[0]: tensors[op.inputs[0]].dtype
        for op in graph.operators
        if operator_name(model, op) == "DEQUANTIZE"
    }
    names = [(operator_name(model, op), op) for op in graph.operators]
    parameters = _parameters(tensors, names)
    return facts(
        (_operator(name, op, tensors, stored) for name, op in names if name not in _QUANTIZERS),
        num_params=sum(prod(tensors[i].shape) for i in parameters),
        weight_bytes=_bytes_by_type(tensors[i] for i in parameters),
        inputs=tuple(_spec(graph.tensors[i], "") for i in graph.inputs),
        outputs=tuple(_spec(graph.tensors[i], "NK") for i in graph.outputs),
    )


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    shape: Shape
    dtype: str
    constant: bool


def _tensor(model: Any, tensor: Any) -> _Tensor:
    constant = constant_bytes(model, tensor) is not None
    return _Tensor(shape=_shape(tensor), dtype=type_name(tensor), constant=constant)


def _shape(tensor: Any) -> Shape:
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


def _operator(
    name: str, op: Any, tensors: Sequence[_Tensor], stored: Mapping[int, str]
) -> Operator:
    multiplying = _MULTIPLYING.get(name)
    outputs = [tensors[i] for i in op.outputs if i >= 0]
    in_int8 = bool(outputs) and all(made.dtype in _INTEGERS for made in outputs)
    rank = max((len(made.shape) for made in outputs), default=0)
    if multiplying is None:
        opaque = name in _OPAQUE or name not in BUILTIN_OPERATORS
        return Operator(name=name, int8=in_int8, macs=None if opaque else 0, rank=rank)
    activation, weights = (op.inputs[i] for i in multiplying.operands)
    kind = _kind(tensors[activation].dtype, tensors[weights].dtype, stored.get(weights))
    output = tensors[op.outputs[0]].shape
    return Operator(
        name=name,
        int8=kind in INT8_ARITHMETIC,
        kind=kind,
        macs=multiplying.formula(tensors[activation].shape, tensors[weights].shape, output),
        rank=rank,
    )


def _kind(activation: str, weights: str, stored: str | None) -> OperatorKind:
    if weights in _INTEGERS:
        return "int8" if activation in _INTEGERS else "int8-dynamic"
    if stored in _INTEGERS:
        return "int8-weights"
    return "fp16" if "float16" in (weights, stored) else "fp32"


def _parameters(tensors: Sequence[_Tensor], names: Sequence[tuple[str, Any]]) -> set[int]:
    """Weights and biases: constants that are floats or that a product reads."""
    found = {
        i for i, tensor in enumerate(tensors) if tensor.constant and tensor.dtype in _WEIGHT_TYPES
    }
    for name, op in names:
        if name in _MULTIPLYING:
            found.update(i for i in op.inputs[2:] if i >= 0 and tensors[i].constant)
    return found


def _bytes_by_type(tensors: Iterable[_Tensor]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for tensor in tensors:
        bits = 4 if tensor.dtype == "int4" else 8 * np.dtype(tensor.dtype).itemsize
        found[tensor.dtype] += prod(tensor.shape) * bits // 8
    return found


def _spec(tensor: Any, layout: str) -> TensorSpec:
    shape = _shape(tensor)
    parameters = tensor.quantization
    scales = [] if parameters is None or parameters.scale is None else parameters.scale
    zeros = [] if parameters is None or parameters.zeroPoint is None else parameters.zeroPoint
    return TensorSpec(
        name=tensor.name.decode(),
        shape=shape,
        dtype=type_name(tensor),
        layout=layout or layout_of(shape) or "",
        scale=float(scales[0]) if len(scales) else None,
        zero_point=int(zeros[0]) if len(zeros) else None,
    )


def _matmul(x: Shape, _: Shape, out: Shape) -> int:
    # x holds rows * k values per matrix, whichever way round it is stored
    return prod(out) * (x[-1] * x[-2] // out[-2])


Formula = Callable[[Shape, Shape, Shape], int]


@dataclass(frozen=True, kw_only=True)
class _Multiplying:
    operands: tuple[int, int]
    """Positions of activation and weights among the inputs."""
    formula: Formula
    """From the shapes of activation, weights and output."""


_MULTIPLYING: Final[Mapping[str, _Multiplying]] = {
    # weights (O, H, W, I / groups)
    "CONV_2D": _Multiplying(operands=(0, 1), formula=lambda _, w, out: prod(out) * prod(w[1:])),
    # weights (1, H, W, O)
    "DEPTHWISE_CONV_2D": _Multiplying(
        operands=(0, 1), formula=lambda _, w, out: prod(out) * prod(w[1:3])
    ),
    # weights (D, H, W, I, O)
    "CONV_3D": _Multiplying(operands=(0, 1), formula=lambda _, w, out: prod(out) * prod(w[:4])),
    # weights (O, H, W, I), applied once per input position
    "TRANSPOSE_CONV": _Multiplying(operands=(2, 1), formula=lambda x, w, _: prod(x) * prod(w[:3])),
    # weights (O, I)
    "FULLY_CONNECTED": _Multiplying(operands=(0, 1), formula=lambda _, w, out: prod(out) * w[-1]),
    # (..., m, k) @ (..., k, n), either side possibly stored transposed
    "BATCH_MATMUL": _Multiplying(operands=(0, 1), formula=_matmul),
}
