"""Operators of an fp32 TFLite file as the quantizer sees them: neighbours, and ways to compute."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgekd.export.quantization.recipe import Choice
from edgekd.export.tflite_schema import WITH_WEIGHTS, constant_bytes, operator_name, type_name

PASSING: Final = frozenset(
    {
        "RESHAPE",
        "TRANSPOSE",
        "SLICE",
        "STRIDED_SLICE",
        "SPLIT",
        "PAD",
        "PADV2",
        "MAX_POOL_2D",
        "GATHER_ND",
    }
)
"""Operators that only move values, and keep their scale: they follow their producer, or, where that
computes in float, readers that all compute in int8."""
_STORED: Final = frozenset({"TRANSPOSE_CONV", "EMBEDDING_LOOKUP"})
"""Operators left in float, whose weights, the second input, can be stored in 8 bits."""
_STATIC: Final = frozenset(
    {
        "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "DIV", "GELU", "HARD_SWISH",
        "LOGISTIC", "MAXIMUM", "MEAN", "MUL", "PACK", "RELU", "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SOFTMAX", "SPACE_TO_DEPTH", "SQRT",
        "SQUARED_DIFFERENCE", "SUB", "SUM", "TANH", "UNPACK",
    }
)  # fmt: skip
"""What LiteRT's quantizer can put into int8, besides products and what only moves values."""
_NORMALISATION: Final = "InputNormalisation"


@dataclass(frozen=True, kw_only=True)
class TfliteOperator:
    """One operator, with what it reads and who reads it."""

    scope: str
    """Names of what it makes: what the quantizer calls it."""
    activations: tuple[str, ...]
    """Names of what it reads and makes."""
    name: str
    """Its type."""
    source: int
    """Producer of its first activation, as an index; -1 for an input of the graph."""
    kind: str | None
    """``None`` for what only moves values or never is int8."""
    choices: tuple[Choice, ...]
    readers: tuple[int, ...]
    """Who reads what it makes, as indices; -1 for an output of the graph."""
    moves_floats: bool
    """Whether it only moves float values."""
    num_weights: int
    """How many values its weights have."""


def read_operators(model: Any) -> list[TfliteOperator]:
    """All operators of the main graph, in order.

    Args:
        model: As ``parse_tflite`` reads it.
    """
    graph = model.subgraphs[0]
    producers = {
        index: position for position, op in enumerate(graph.operators) for index in op.outputs
    }
    readers: dict[int, list[int]] = {index: [-1] for index in graph.outputs}
    for position, op in enumerate(graph.operators):
        for index in op.inputs:
            readers.setdefault(index, []).append(position)
    return [_operator(model, op, producers, readers) for op in graph.operators]


def _operator(
    model: Any, op: Any, producers: Mapping[int, int], readers: Mapping[int, Sequence[int]]
) -> TfliteOperator:
    graph, name = model.subgraphs[0], operator_name(model, op)
    tensors = graph.tensors
    scope = ";".join(tensors[i].name.decode() for i in op.outputs) + ";"
    activations = [i for i in op.inputs if i >= 0 and constant_bytes(model, tensors[i]) is None]
    kind, choices = _form(model, op, name)
    read = [] if name == "EMBEDDING_LOOKUP" else activations[:1]  # which reads row numbers
    in_float = all(type_name(tensors[i]) == "float32" for i in (*read, *op.outputs))
    if not activations or not in_float or _NORMALISATION in scope:
        kind = None
    return TfliteOperator(
        scope=scope,
        activations=tuple(tensors[i].name.decode() for i in (*activations, *op.outputs)),
        name=name,
        source=producers.get(activations[0], -1) if activations else -1,
        kind=kind,
        choices=choices,
        readers=tuple(reader for i in op.outputs for reader in readers.get(i, ())),
        moves_floats=name in PASSING and bool(activations) and in_float,
        num_weights=math.prod(tensors[op.inputs[1]].shape) if "weights" in choices else 0,
    )


def _form(model: Any, op: Any, name: str) -> tuple[str | None, tuple[Choice, ...]]:
    """The kind of an operator, finer than its type where speed depends on it, and its choices."""
    tensors = model.subgraphs[0].tensors
    if name in WITH_WEIGHTS and constant_bytes(model, tensors[op.inputs[1]]) is not None:
        weights = [int(size) for size in tensors[op.inputs[1]].shape]
        choices: tuple[Choice, ...] = ("static", "dynamic", "weights")
        if name == "DEPTHWISE_CONV_2D":
            return name, ("static", "weights")
        if name == "CONV_2D":
            output = [int(size) for size in tensors[op.outputs[0]].shape]
            vector = output[1:3] == [1, 1]
            form = "on a vector" if vector else "pointwise" if weights[1:3] == [1, 1] else ""
            return f"{name} {form}".strip(), choices
        return name, choices
    if name in _STORED and constant_bytes(model, tensors[op.inputs[1]]) is not None:
        return name, ("weights",)
    return (name, ("static", "float")) if name in _STATIC else (None, ("float",))


def float_activations(model: Any) -> dict[str, int]:
    """Name to index of every float tensor that is computed or fed."""
    graph = model.subgraphs[0]
    indices = {*graph.inputs, *(i for op in graph.operators for i in op.outputs)}
    return {
        graph.tensors[i].name.decode(): int(i)
        for i in sorted(indices)
        if type_name(graph.tensors[i]) == "float32"
    }
