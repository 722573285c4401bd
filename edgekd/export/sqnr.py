"""How far answers are from right ones, in decibel: one definition for search, gate and report."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

EQUAL_DB: Final = 200.0
"""Answers without any error; and negative, answers that are no numbers."""


def sqnr_db(source: NDArray[Any], found: NDArray[Any]) -> float:
    """Signal to quantization noise: ``10 log10(sum source^2 / sum (source - found)^2)``.

    Within +-:data:`EQUAL_DB`: the one is where nothing differs, the other where ``found`` holds NaN
    or infinity. A source that is all zeros has no ratio; its noise counts as if every value were 1,
    so that 20 dB is an absolute error of 0.1.

    Args:
        source: Right answers, any shape.
        found: Of the same shape.

    >>> sqnr_db(np.float32([[3, 4]]), np.float32([[3, 4.5]]))
    20.0
    >>> round(sqnr_db(np.float32([0, 0]), np.float32([0.1, -0.1])), 4)
    20.0
    """
    if not np.isfinite(found).all():
        return -EQUAL_DB
    right = source.astype(np.float64)
    noise = float(np.square(right - found).sum())
    signal = float(np.square(right).sum()) or float(right.size)
    if noise == 0:
        return EQUAL_DB
    return float(np.clip(10 * np.log10(signal / noise), -EQUAL_DB, EQUAL_DB))
