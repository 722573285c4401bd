"""Every int8 operator of a TFLite file alone: what its fast kernel makes of given inputs.

Roundings add up: behind fifty layers two runtimes that are both right may share few values. Whether
a kernel is right shows where it computes alone. So the operators of a file are laid side by side,
each with inputs of its own; they are fed what the reference kernels computed with, and should
answer what those answered.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.export.quantization.tflite_operators import PASSING
from edgekd.export.quiet import quiet_stderr
from edgekd.export.tflite_schema import (
    constant_bytes,
    operator_name,
    pack_tflite,
    read_tflite,
    type_name,
)
from edgekd.records import OperatorCheck

Values = Mapping[int, NDArray[Any]]
"""Tensor of a file to its values, ``(n, ...)``, one row per sample."""

Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class SingleOperator:
    """One operator that was cut out.

    Attributes:
        name: Its type and the tensor that it makes, for people.
        inputs: Tensors of the whole file and those that stand for them.
        outputs: As ``inputs``, of what it makes.
    """

    name: str
    inputs: Pairs
    outputs: Pairs


@dataclass(frozen=True, kw_only=True, eq=False)
class TakenApart:
    """The int8 operators of a file, side by side in a file of their own.

    Attributes:
        operators: In order of execution.
        content: The file; of no use without operators.
    """

    operators: tuple[SingleOperator, ...]
    content: bytes

    @property
    def tensors(self) -> tuple[int, ...]:
        """Whose values are needed, as indices of the whole file."""
        pairs = (pair for op in self.operators for pair in (*op.inputs, *op.outputs))
        return tuple(sorted({whole for whole, _ in pairs}))


def take_apart(path: Path) -> TakenApart:
    """Cut the operators that compute in int8 out of a file.

    What only moves values is left out: it would agree in any case.

    Raises:
        BundleError: If the file is damaged.
    """
    model = read_tflite(path)
    graph = model.subgraphs[0]
    chosen = [op for op in graph.operators if _computes_in_int8(model, op)]
    pieces = [_cut_out(model, op) for op in chosen]
    graph.operators = [cut for _, cut in pieces]
    found = tuple(piece for piece, _ in pieces)
    graph.inputs = [own for piece in found for _, own in piece.inputs]
    graph.outputs = [own for piece in found for _, own in piece.outputs]
    model.signatureDefs = model.metadata = model.metadataBuffer = None
    return TakenApart(operators=found, content=pack_tflite(model) if found else b"")


def compare_operators(apart: TakenApart, values: Values) -> OperatorCheck:
    """Run every operator with LiteRT's fast kernels on equal inputs.

    Args:
        apart: With at least one operator.
        values: Of ``apart.tensors``, from the reference kernels.

    Raises:
        ExportError: If LiteRT cannot run the operators one by one.
    """
    close = np.zeros(len(apart.operators), np.int64)
    sizes = np.zeros_like(close)
    try:
        with quiet_stderr():
            interpreter = Interpreter(model_content=apart.content, num_threads=1)
            interpreter.allocate_tensors()
        for row in range(len(next(iter(values.values())))):
            for whole, own in (pair for op in apart.operators for pair in op.inputs):
                interpreter.set_tensor(own, values[whole][row])
            interpreter.invoke()
            for number, op in enumerate(apart.operators):
                for whole, own in op.outputs:
                    steps = interpreter.get_tensor(own).astype(np.int16) - values[whole][row]
                    close[number] += np.count_nonzero(np.abs(steps) <= 1)
                    sizes[number] += steps.size
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ExportError(f"LiteRT cannot run the operators one by one: {reason}") from error
    return _summed_up(apart.operators, close, sizes)


def _summed_up(
    operators: Sequence[SingleOperator], close: NDArray[np.int64], sizes: NDArray[np.int64]
) -> OperatorCheck:
    shares = close / np.maximum(sizes, 1)
    worst = int(np.argmin(shares))
    return OperatorCheck(
        num_operators=len(operators),
        share=float(close.sum() / max(sizes.sum(), 1)),
        lowest_share=float(shares[worst]),
        worst=operators[worst].name,
    )


def _computes_in_int8(model: Any, op: Any) -> bool:
    tensors = model.subgraphs[0].tensors
    return (
        operator_name(model, op) not in PASSING
        and all(type_name(tensors[i]) == "int8" for i in op.outputs)
        and any(i >= 0 and constant_bytes(model, tensors[i]) is None for i in op.inputs)
    )


def _cut_out(model: Any, op: Any) -> tuple[SingleOperator, Any]:
    """An operator with tensors of its own, which are added to the graph; constants are shared."""
    tensors = model.subgraphs[0].tensors
    name = f"{operator_name(model, op)} {tensors[op.outputs[0]].name.decode()}"
    cut = copy.copy(op)
    cut.inputs = [
        _copied(tensors, i) if i >= 0 and constant_bytes(model, tensors[i]) is None else int(i)
        for i in op.inputs
    ]
    cut.outputs = [_copied(tensors, i) for i in op.outputs]
    return SingleOperator(
        name=name, inputs=_pairs(op.inputs, cut.inputs), outputs=_pairs(op.outputs, cut.outputs)
    ), cut


def _pairs(whole: Sequence[int], own: Sequence[int]) -> Pairs:
    return tuple((int(a), b) for a, b in zip(whole, own, strict=True) if a != b)


def _copied(tensors: list[Any], index: int) -> int:
    """A second tensor like this one, at the end of the graph's."""
    twin = copy.copy(tensors[index])
    twin.name = b"%s;%d" % (twin.name, len(tensors))
    tensors.append(twin)
    return len(tensors) - 1
