"""Ranges that LiteRT's kernels can rescale between.

An int8 kernel multiplies by ratios of scales, held in fixed point. Where a network hardly uses a
branch, or a tensor is dead, a ratio leaves what XNNPACK takes, and it refuses the whole file when
it is loaded. So the narrower range is widened: by so little, against the tensor that it is added
to or computed from, that no 8-bit value of the answer changes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.export.quantization.recipe import Range
from edgekd.export.tflite_schema import WITH_WEIGHTS, constant_bytes, operator_name, type_name

LEAST_ADDEND: Final = 1.01 * 2**-10
"""Of the sum's scale; XNNPACK's qs8 addition takes ratios in [2^-10, 2^8), with a little room."""
LARGEST_RATIO: Final = 200.0
"""Of a product's or an addend's scale to the output's; XNNPACK takes what is below 2^8."""

_SUMS: Final = frozenset({"ADD", "SUB"})
_PRODUCTS: Final = frozenset({"MUL", "BATCH_MATMUL"})
_MOVING: Final = frozenset({"RESHAPE", "TRANSPOSE", "PAD", "PADV2", "MAX_POOL_2D", "SLICE"})
_WEIGHT_LEVELS: Final = 127
_LEVELS: Final = 255
_NARROWEST: Final = 1e-9  # LiteRT's quantizer widens every range to this
_MOST_PASSES: Final = 20


@dataclass(frozen=True, kw_only=True)
class ScaleRule:
    """One operator whose scales have to fit together.

    Attributes:
        scope: The operator.
        adds: Whether its inputs are added; else their product is taken.
        inputs: Activations.
        output: What it makes.
        weights: Largest scale of its constant weights; 1 where it has none.
    """

    scope: str
    adds: bool
    inputs: tuple[str, ...]
    output: str
    weights: float = 1.0


class ScaleRules:
    """All rules of one fp32 model.

    Args:
        model: As ``parse_tflite`` reads it.
        scopes: Name of every operator, in order.
    """

    def __init__(self, model: Any, scopes: Sequence[str]) -> None:
        operators = model.subgraphs[0].operators
        found = (_rule(model, op, scope) for op, scope in zip(operators, scopes, strict=True))
        self._rules = tuple(rule for rule in found if rule is not None)
        self._sources = _sources(model)

    def widened(self, ranges: Mapping[str, Range], static: Collection[str]) -> Mapping[str, Range]:
        """The ranges with those widened that the operators in int8 could not be rescaled from.

        Args:
            ranges: Activation to its extremes.
            static: Scopes of the operators that compute in int8.
        """
        found = dict(ranges)
        rules = [
            rule
            for rule in self._rules
            if rule.scope in static and {rule.output, *rule.inputs} <= found.keys()
        ]
        for _ in range(_MOST_PASSES):
            before = dict(found)
            for rule in rules:
                self._apply(rule, found)
            if found == before:
                break
        return found

    def _apply(self, rule: ScaleRule, ranges: dict[str, Range]) -> None:
        scales = [_width(ranges[name]) / _LEVELS for name in rule.inputs]
        largest = max(scales) if rule.adds else prod(scales) * rule.weights
        self._widen(rule.output, largest / LARGEST_RATIO, ranges)
        if rule.adds:
            least = LEAST_ADDEND * _width(ranges[rule.output]) / _LEVELS
            for name in rule.inputs:
                self._widen(name, least, ranges)

    def _widen(self, name: str, scale: float, ranges: dict[str, Range]) -> None:
        """Give a tensor, and those whose values it moves, at least this scale."""
        while name in ranges:
            ranges[name] = _at_least(ranges[name], scale * _LEVELS)
            name = self._sources.get(name, "")


def _at_least(limits: Range, width: float) -> Range:
    """Limits as wide as ``width``, with the zero point where it was.

    >>> _at_least((-1.0, 3.0), 8.0), _at_least((-1.0, 3.0), 2.0), _at_least((0.0, 0.0), 2.0)
    ((-2.0, 6.0), (-1.0, 3.0), (0.0, 2.0))
    """
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    if high - low >= width:
        return limits
    if high - low <= _NARROWEST:
        return 0.0, width
    factor = width / (high - low)
    return low * factor, high * factor


def _width(limits: Range) -> float:
    return max(max(limits[1], 0.0) - min(limits[0], 0.0), _NARROWEST)


def _rule(model: Any, op: Any, scope: str) -> ScaleRule | None:
    name, tensors = operator_name(model, op), model.subgraphs[0].tensors
    if name not in _SUMS | _PRODUCTS | WITH_WEIGHTS:
        return None
    constants = [_constant(model, tensors[i]) if i >= 0 else None for i in op.inputs]
    activations = tuple(
        tensors[i].name.decode()
        for i, values in zip(op.inputs, constants, strict=True)
        if i >= 0 and values is None
    )
    if not activations:
        return None
    weights = None if name in _SUMS else next((c for c in constants[:2] if c is not None), None)
    return ScaleRule(
        scope=scope,
        adds=name in _SUMS,
        inputs=activations,
        output=tensors[op.outputs[0]].name.decode(),
        weights=1.0 if weights is None else float(np.abs(weights).max()) / _WEIGHT_LEVELS,
    )


def _constant(model: Any, tensor: Any) -> NDArray[np.float32] | None:
    data = constant_bytes(model, tensor)
    return None if data is None or type_name(tensor) != "float32" else data.view(np.float32)


def _sources(model: Any) -> dict[str, str]:
    """Tensor to the one whose values, and scale, an operator moved into it."""
    tensors = model.subgraphs[0].tensors
    return {
        tensors[op.outputs[0]].name.decode(): tensors[op.inputs[0]].name.decode()
        for op in model.subgraphs[0].operators
        if operator_name(model, op) in _MOVING
    }
