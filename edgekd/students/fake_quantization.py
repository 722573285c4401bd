"""Numbers as an 8-bit file holds them, inside a float computation that can still be trained.

Forward, a value is rounded to the nearest of a few levels; backward, the rounding is taken for the
identity (a straight-through estimate), and what lies outside the range gets no gradient.
"""

import math
from typing import Any, Final

import torch
from torch import Tensor

_SMALLEST_STEP: Final = 1e-8  # of activations, as in the files
_SMALLEST_SCALE: Final = 1e-12  # of weights, as in the files


def fake_quantize(x: Tensor, low: Tensor, high: Tensor, *, bits: int = 8) -> Tensor:
    """``x`` rounded as an affine tensor of ``bits`` bits holds it, zero exactly.

    ``step = (high - low) / (2^bits - 1)``, ``zero = round(-low / step)``, and ``x`` becomes
    ``step * (clip(round(x / step) + zero, 0, 2^bits - 1) - zero)``.

    Args:
        x: Float, any shape.
        low: ``()``, smallest value of the range, which is widened to hold 0.
        high: ``()``, largest value.
        bits: At least 2.

    Returns:
        Of ``x``'s shape. Its gradient reaches ``x`` unchanged inside the range and not at all
        outside; the limits get what clipping costs, and what a wider step costs.

    Source:
        Rounding: Bengio et al. (2013), arXiv:1308.3432. Limits: Esser et al. (2020),
        arXiv:1902.08153, equation 3, written for two limits.
    """
    rounded: Tensor = _FakeQuantize.apply(x, low.clamp(max=0), high.clamp(min=0), 2**bits - 1)
    return rounded


class _FakeQuantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor, levels: int) -> Tensor:
        step = ((high - low) / levels).clamp(min=_SMALLEST_STEP)
        zero = torch.round(-low / step).clamp(0, levels)
        in_steps = x / step
        level = torch.round(in_steps) + zero
        ctx.save_for_backward(in_steps, level)
        ctx.levels = levels
        return (level.clamp(0, levels) - zero) * step

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (gradient,) = gradients
        in_steps, level = ctx.saved_tensors
        below, above = (level < 0).to(gradient.dtype), (level > ctx.levels).to(gradient.dtype)
        inside = 1 - below - above
        # a wider range makes the step wider, and with it the error of rounding
        widened = (torch.round(in_steps) - in_steps) * inside / ctx.levels
        to_low = (gradient * (below - widened)).sum()
        to_high = (gradient * (above + widened)).sum()
        return gradient * inside, to_low, to_high, None


def fake_quantize_weights(weights: Tensor, *, axis: int, bits: int = 8) -> Tensor:
    """``weights`` rounded as a symmetric tensor with one scale per output channel holds them.

    Args:
        weights: Float; a channel's scale is its largest absolute value over ``2^(bits-1) - 1``, so
            none of them clips.
        axis: Of the output channels.
        bits: At least 2.

    Returns:
        Of the same shape; its gradient reaches ``weights`` unchanged.
    """
    limit = 2 ** (bits - 1) - 1
    fixed = weights.detach()
    others = [other for other in range(fixed.ndim) if other != axis % fixed.ndim]
    scale = (fixed.abs().amax(dim=others, keepdim=True) / limit).clamp(min=_SMALLEST_SCALE)
    rounded = torch.round(fixed / scale).clamp(-limit, limit) * scale
    answer: Tensor = weights + (rounded - fixed)
    return answer


def calmed(limits: Tensor, num_values: int) -> Tensor:
    """The same limits, with the gradients that all values sum up to divided by their root.

    Source:
        Esser et al. (2020), arXiv:1902.08153, section 2.2.
    """
    share = 1 / math.sqrt(num_values)
    return limits.detach() + share * (limits - limits.detach())
