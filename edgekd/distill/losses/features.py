"""Losses on pooled features."""

from collections.abc import Sequence

import torch
from torch import Tensor


def feature_fit_loss(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
    """Distance of pooled features, layer by layer: ``sum_l mean_i ||t_il - s_il||_2``.

    The distance is not squared; where the two are equal its gradient is taken as 0.

    Args:
        teacher: One ``(B, C)`` per layer; no gradient flows into it.
        student: As many, each of its teacher's shape.

    Returns:
        ``()``, in the unit of the features, computed in fp32 whatever the autocast of the forward
        pass.

    Raises:
        ValueError: If there is no layer, their numbers differ, or the shapes of a layer differ or
            are not 2-D.
    """
    if len(teacher) != len(student) or not student:
        raise ValueError(f"expected as many layers, found {len(teacher)} and {len(student)}")
    distances = []
    for layer, (t, s) in enumerate(zip(teacher, student, strict=True)):
        if t.shape != s.shape or s.ndim != 2:
            raise ValueError(
                f"layer {layer}: expected two (B, C) tensors, found {tuple(t.shape)} "
                f"and {tuple(s.shape)}"
            )
        distances.append(_norms(s.float() - t.detach().float()).mean())
    return torch.stack(distances).sum()


def _norms(differences: Tensor) -> Tensor:
    """``(B, C) -> (B,)`` Euclidean lengths; the gradient of a length of 0 is 0, never NaN."""
    squares = differences.square().sum(dim=1)
    is_zero = squares == 0
    lengths = torch.where(is_zero, torch.ones_like(squares), squares).sqrt()
    return torch.where(is_zero, torch.zeros_like(squares), lengths)
