"""Gradient resetting: a masked row loses its task gradient and is pulled to zero.

Source:
    Ding et al. (2021), "ResRep", arXiv:2007.03260, section 3.3, equations 11 to 13.
"""

from typing import Final

import torch
from torch import Tensor

from edgekd.distill.methods.cdd.indicator import row_lengths

_TINY: Final = 1e-12  # a row of zeros has no direction to be pulled in


@torch.no_grad()
def reset_gradient(parameter: Tensor, mask: Tensor, pull: Tensor) -> None:
    """``grad(Q[c]) <- mask[c] * grad(Q[c]) + pull[c] * Q[c] / ||Q[c]||``, in place.

    Args:
        parameter: ``(C, ...)`` with a gradient; everything behind the first axis is one row.
        mask: ``(C,)`` bool, true where the task gradient stays.
        pull: ``(C,)``, >= 0.

    Raises:
        ValueError: If the parameter has no gradient.
    """
    if parameter.grad is None:
        raise ValueError("the indicator has no gradient; it was not part of the loss")
    strength = pull / row_lengths(rows_of(parameter)).clamp_min(_TINY)
    per_row = (-1,) + (1,) * (parameter.ndim - 1)
    parameter.grad.mul_(mask.view(per_row)).add_(parameter * strength.view(per_row))


def rows_of(parameter: Tensor) -> Tensor:
    """``(C, n)``: a kernel's or vector's entries per channel."""
    return parameter.flatten(1) if parameter.ndim > 1 else parameter[:, None]
