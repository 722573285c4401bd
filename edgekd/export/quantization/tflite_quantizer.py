"""TFLite: ranges of its activations and int8 files of it, through LiteRT's quantizer."""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edgekd.errors import ExportError
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.recipe import Choice, Range
from edgekd.export.quantization.tflite_biases import read_biases, with_fitting_biases
from edgekd.export.quantization.tflite_hard_swish import with_fast_hard_swish
from edgekd.export.quantization.tflite_operators import (
    PASSING,
    float_activations,
    read_operators,
)
from edgekd.export.quantization.tflite_scales import ScaleRules
from edgekd.export.quantization.units import Choices, Unit
from edgekd.export.quiet import quiet_converter, quiet_stderr
from edgekd.export.tflite_schema import parse_tflite
from edgekd.runtimes.session import Arrays


class TfliteQuantizer:
    """Writes int8 forms of one fp32 TFLite file.

    Args:
        fp32: The file, without edgekd's metadata.
    """

    format: Final = "tflite"
    notes: tuple[str, ...] = ()
    calibration_batch: Final = 1

    def __init__(self, fp32: Path) -> None:
        self._content = fp32.read_bytes()
        model = parse_tflite(self._content, source=fp32.name)
        self._operators = read_operators(model)
        self._ranks = {
            tensor.name.decode(): 0 if tensor.shape is None else len(tensor.shape)
            for tensor in model.subgraphs[0].tensors
        }
        self._input_names = {
            item.name.decode(): item.tensorIndex
            for signature in model.signatureDefs or []
            for item in signature.inputs
        }
        self._floats = float_activations(model)
        self._scales = ScaleRules(model, [op.scope for op in self._operators])
        self._biases = read_biases(model)
        self.units: tuple[Unit, ...] = tuple(
            Unit(name=op.scope, kind=op.kind, choices=op.choices, num_weights=op.num_weights)
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

    def rounded(self, choices: Choices) -> frozenset[str]:
        """Activations that the int8 file of these choices holds in 8 bits."""
        return frozenset(
            name
            for op in self._operators
            if choices.get(op.scope) == "static"
            for name in op.activations
        )

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


def _any_of(scopes: Sequence[str]) -> str:
    return f"^(?:{'|'.join(scopes)})$"


def _tool(name: str) -> Any:
    """A module of the quantizer, whose package is being renamed: the new name first."""
    package = "litert_quantizer" if find_spec("litert_quantizer") else "ai_edge_quantizer"
    return import_module(f"{package}.{name}")
