"""What a file computes in, told from its multiplying operators alone.

For files that come without a record; an operator is one of five kinds and a file is their sum.
"""

from collections.abc import Iterable
from typing import Literal

OperatorKind = Literal["fp32", "fp16", "int8", "int8-weights", "int8-dynamic"]
"""``int8``: activations and weights are 8-bit tensors of the file; ``int8-dynamic``: activations
are quantized while running; ``int8-weights``: weights are stored in 8 bits, arithmetic is float."""


def file_precision(kinds: Iterable[OperatorKind]) -> str:
    """The precision of a file, by the names of ``edgekd.records.Precision``.

    >>> file_precision(["int8", "int8"]), file_precision(["int8", "fp32"]), file_precision([])
    ('int8-static', 'int8-mixed', 'fp32')
    """
    found = set(kinds)
    if found == {"int8"}:
        return "int8-static"
    if "int8" in found:
        return "int8-mixed"
    for kind in ("int8-dynamic", "int8-weights", "fp16"):
        if kind in found:
            return kind
    return "fp32"
