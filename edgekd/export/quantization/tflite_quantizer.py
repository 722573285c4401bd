"""TFLite: ranges of its activations and int8 files of it, through LiteRT's quantizer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.recipe import Choice, Range
from edgekd.export.quantization.tflite_biases import read_biases, with_fitting_biases
from edgekd.export.quantization.tflite_hard_swish import with_fast_hard_swish
from edgekd.export.quantization.tflite_scales import ScaleRules
from edgekd.export.quantization.units import Choices, Unit
from edgekd.export.quiet import quiet_converter, quiet_stderr
from edgekd.export.tflite_schema import operator_name, parse_tflite, type_name

Arrays = Mapping[str, NDArray[Any]]

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
_WITH_WEIGHTS: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
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
class _Operator:
    scope: str
    name: str
    source: int
    """Producer of its first activation, as an index; -1 for an input of the graph."""
    kind: str | None
    """``None`` for what only moves values or never is int8."""
    choices: tuple[Choice, ...]
    readers: tuple[int, ...]
    """Who reads what it makes, as indices; -1 for an output of the graph."""
    moves_floats: bool
    """Whether it only moves float values."""


class TfliteQuantizer:
    """Writes int8 forms of one fp32 TFLite file.

    Args:
        fp32: The file, without edgekd's metadata.
    """

    format: Final = "tflite"
    notes: tuple[str, ...] = ()

    def __init__(self, fp32: Path) -> None:
        self._content = fp32.read_bytes()
        model = parse_tflite(self._content, source=fp32.name)
        self._operators = _read_operators(model)
        self._ranks = {
            tensor.name.decode(): 0 if tensor.shape is None else len(tensor.shape)
            for tensor in model.subgraphs[0].tensors
        }
        self._input_names = {
            item.name.decode(): item.tensorIndex
            for signature in model.signatureDefs or []
            for item in signature.inputs
        }
        self._floats = _float_activations(model)
        self._scales = ScaleRules(model, [op.scope for op in self._operators])
        self._biases = read_biases(model)
        self.units: tuple[Unit, ...] = tuple(
            Unit(name=op.scope, kind=op.kind, choices=op.choices)
            for op in self._operators
            if op.kind is not None
        )

    def calibrate(self, feeds: Arrays, collector: RangeCollector) -> None:
        """Show every activation of every sample to a collector.

        Args:
            feeds: Input name to ``(n, ...)`` samples in the file's own encoding.
            collector: Gets each float activation, sample by sample.
        """
        with quiet_stderr(), quiet_converter():  # it warns of the memory that this is meant to take
            interpreter = Interpreter(
                model_content=self._content, num_threads=1, experimental_preserve_all_tensors=True
            )
            interpreter.allocate_tensors()
        rows = len(next(iter(feeds.values())))
        for row in range(rows):
            for name, values in feeds.items():
                interpreter.set_tensor(self._input_names[name], values[row : row + 1])
            interpreter.invoke()
            for name, index in self._floats.items():
                collector.add(name, interpreter.get_tensor(index))

    def write(self, choices: Choices, ranges: Mapping[str, Range], path: Path) -> None:
        """Write the int8 file that computes as ``choices`` say.

        Raises:
            ExportError: If LiteRT's quantizer fails.
        """
        try:
            with quiet_converter(), quiet_stderr():
                path.write_bytes(self._quantized(choices, ranges))
        except (ValueError, RuntimeError, KeyError, TypeError, IndexError) as error:
            raise ExportError(
                f"LiteRT's quantizer cannot write {path.name}: {error or type(error).__name__}"
            ) from error

    @staticmethod
    def versions() -> dict[str, str]:
        """Of what runs the files and of what writes them."""
        quantizer = "litert-quantizer" if find_spec("litert_quantizer") else "ai-edge-quantizer"
        return {name: metadata.version(name) for name in ("ai-edge-litert", quantizer)}

    def _quantized(self, choices: Choices, ranges: Mapping[str, Range]) -> bytes:
        resolved = self._resolve(choices)
        quantizer = _tool("quantizer").Quantizer(self._content)
        everything = _tool("qtyping").TFLOperationName.ALL_SUPPORTED
        scopes: dict[Choice, list[str]] = {"static": [], "dynamic": [], "weights": []}
        for scope, choice in resolved.items():
            if choice in scopes:
                scopes[choice].append(re.escape(scope))
        if scopes["static"]:
            quantizer.add_static_config(_any_of(scopes["static"]), everything, 8, 8)
        if scopes["dynamic"]:
            quantizer.add_dynamic_config(_any_of(scopes["dynamic"]), everything, 8)
        if scopes["weights"]:
            quantizer.add_weight_only_config(_any_of(scopes["weights"]), everything, 8)
        for end in ("INPUT", "OUTPUT"):  # float32 (or raw uint8) in, float32 out, as the fp32 file
            quantizer.update_quantization_recipe(
                ".*",
                _tool("qtyping").TFLOperationName(end),
                algorithm_key=_tool("algorithm_manager").AlgorithmName.NO_QUANTIZE,
            )
        static = {scope for scope, choice in resolved.items() if choice == "static"}
        statistics = {
            name: {
                key: np.full((1,) * self._ranks[name], limit, np.float32)
                for key, limit in zip(("min", "max"), limits, strict=True)
            }
            for name, limits in self._scales.widened(ranges, static).items()
            if name in self._ranks
        }
        result = quantizer.quantize(statistics or None, enable_progress_report=False)
        content = bytes(result.quantized_model)
        if not static:
            return content
        return with_fast_hard_swish(with_fitting_biases(content, self._biases))

    def _resolve(self, choices: Choices) -> dict[str, Choice]:
        """A choice for every operator: what only moves values does as its neighbours."""
        found: list[Choice] = []
        for op in self._operators:
            if op.kind is not None:
                found.append(choices[op.scope])
            elif op.name in PASSING and op.source >= 0 and found[op.source] == "static":
                found.append("static")
            else:
                found.append("float")
        for position, op in reversed(list(enumerate(self._operators))):
            only_int8_reads = all(i >= 0 and found[i] == "static" for i in op.readers)
            if op.moves_floats and op.readers and only_int8_reads:
                found[position] = "static"
        return {op.scope: choice for op, choice in zip(self._operators, found, strict=True)}


def _read_operators(model: Any) -> list[_Operator]:
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
) -> _Operator:
    graph, name = model.subgraphs[0], operator_name(model, op)
    tensors = graph.tensors
    scope = ";".join(tensors[i].name.decode() for i in op.outputs) + ";"
    activations = [i for i in op.inputs if i >= 0 and not _constant(model, tensors[i])]
    kind, choices = _form(model, op, name)
    in_float = all(type_name(tensors[i]) == "float32" for i in (*activations[:1], *op.outputs))
    if not activations or not in_float or _NORMALISATION in scope:
        kind = None
    return _Operator(
        scope=scope,
        name=name,
        source=producers.get(activations[0], -1) if activations else -1,
        kind=kind,
        choices=choices,
        readers=tuple(reader for i in op.outputs for reader in readers.get(i, ())),
        moves_floats=name in PASSING and bool(activations) and in_float,
    )


def _form(model: Any, op: Any, name: str) -> tuple[str | None, tuple[Choice, ...]]:
    """The kind of an operator, finer than its type where speed depends on it, and its choices."""
    tensors = model.subgraphs[0].tensors
    if name in _WITH_WEIGHTS and _constant(model, tensors[op.inputs[1]]):
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
    return (name, ("static", "float")) if name in _STATIC else (None, ("float",))


def _constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _float_activations(model: Any) -> dict[str, int]:
    """Name to index of every float tensor that is computed or fed."""
    graph = model.subgraphs[0]
    indices = {*graph.inputs, *(i for op in graph.operators for i in op.outputs)}
    return {
        graph.tensors[i].name.decode(): int(i)
        for i in sorted(indices)
        if type_name(graph.tensors[i]) == "float32"
    }


def _any_of(scopes: Sequence[str]) -> str:
    return f"^(?:{'|'.join(scopes)})$"


def _tool(name: str) -> Any:
    """A module of the quantizer, whose package is being renamed: the new name first."""
    package = "litert_quantizer" if find_spec("litert_quantizer") else "ai_edge_quantizer"
    return import_module(f"{package}.{name}")
