"""What a file really computes in: every operator looked at, none dropped.

A converter's "done" says nothing about whether its file computes in int8: so each file's own
graph is read back, its multiply-accumulates are counted, and its precision is named by them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from edgekd.errors import BundleError
from edgekd.records import OperatorAudit, Precision, TensorSpec
from edgekd.runtimes.precision import OperatorKind, file_precision
from edgekd.runtimes.session import format_of

INT8_ARITHMETIC: Final = ("int8", "int8-dynamic")


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One operator of a file.

    Attributes:
        name: Type, as its format spells it.
        int8: It reads and writes 8-bit tensors.
        kind: How it multiplies; ``None`` where it carries no multiply-accumulates.
        macs: Of one sample; ``None`` where they cannot be counted.
        rank: Axes of the largest tensor that it makes; 0 where that is not known.
    """

    name: str
    int8: bool
    kind: OperatorKind | None = None
    macs: int | None = 0
    rank: int = 0


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """A model file, read back."""

    precision: Precision
    num_params: int
    int8_weight_bytes_share: float
    macs: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    audit: OperatorAudit


def audit_file(path: Path) -> FileFacts:
    """Read a ``.onnx`` or ``.tflite`` file back, without running it.

    Raises:
        BundleError: If it is damaged or of another kind.
        MissingExtraError: If the package that reads its format is not installed.
    """
    try:
        if format_of(path) == "onnx":
            from edgekd.export.audit.onnx_graph import audit_onnx

            return audit_onnx(path)
        from edgekd.export.audit.tflite_graph import audit_tflite

        return audit_tflite(path)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # a file that parses can still name what does not exist, in as many ways as it has fields
        raise BundleError(f"{path}: its graph is damaged; export it again") from error


def facts(
    operators: Iterable[Operator],
    *,
    num_params: int,
    weight_bytes: Mapping[str, int],
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
) -> FileFacts:
    """Sum a file's operators up.

    >>> conv = Operator(name="Conv", int8=True, kind="int8", macs=300)
    >>> dense = Operator(name="Gemm", int8=False, kind="fp32", macs=100)
    >>> sizes = {"int8": 3, "float32": 1}
    >>> found = facts([conv, dense], num_params=0, weight_bytes=sizes, inputs=(), outputs=())
    >>> found.precision, found.macs, found.audit.int8_macs_share
    ('int8-mixed', 400, 0.75)
    >>> found.int8_weight_bytes_share
    0.75
    """
    found = list(operators)
    counted = [(operator, operator.macs) for operator in found if operator.macs is not None]
    macs = sum(count for _, count in counted)
    in_int8 = sum(count for operator, count in counted if operator.kind in INT8_ARITHMETIC)
    all_bytes = sum(weight_bytes.values())
    kinds = [operator.kind for operator in found if operator.kind is not None]
    return FileFacts(
        precision=cast(Precision, file_precision(kinds)),
        num_params=num_params,
        int8_weight_bytes_share=weight_bytes.get("int8", 0) / all_bytes if all_bytes else 0.0,
        macs=macs,
        inputs=inputs,
        outputs=outputs,
        audit=OperatorAudit(
            int8_macs_share=in_int8 / macs if macs else 0.0,
            int8_operators=_count(o.name for o in found if o.int8),
            float_operators=_count(o.name for o in found if not o.int8),
            num_transposes=sum(o.name.upper() == "TRANSPOSE" for o in found),
            largest_rank=max((o.rank for o in found), default=0),
            uncounted_operators=tuple(sorted({o.name for o in found if o.macs is None})),
        ),
    )


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))
