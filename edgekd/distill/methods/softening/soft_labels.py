"""Labels softened by what the network answered for the same sample and transformation before."""

from typing import NamedTuple

import torch
from torch import Tensor

from edgekd.config import SoftLabelsRecipe


class Answers(NamedTuple):
    """Probabilities of one batch; every distribution sums to 1."""

    main: Tensor
    """``(B, K)`` of the samples as they are."""
    joint: Tensor
    """``(B, M, L, K * M)``: per transformation and branch, over joint labels; L may be 0."""


def softening_weight(recipe: SoftLabelsRecipe, epoch: int, epochs: int) -> float:
    """``alpha_t = alpha_T * (e + 1) / E``: share of the past answer in ``epoch`` (from 0).

    Source:
        Kim et al. (2021), arXiv:2006.12000, equation 7.
    """
    return recipe.weight * (epoch + 1) / epochs


def soften(hard: Tensor, past: Tensor, known: Tensor, weight: float) -> Tensor:
    """``(1 - weight) * hard + weight * past`` where the past is known, ``hard`` elsewhere.

    Args:
        hard: ``(B, ..., C)`` probabilities.
        past: Of the same shape.
        known: ``(B,)`` bool.
        weight: In [0, 1).
    """
    share = weight * known.to(hard.dtype).view(-1, *(1,) * (hard.ndim - 1))
    return torch.lerp(hard, past.to(hard.dtype), share)


def class_probabilities(targets: Tensor, num_classes: int) -> Tensor:
    """``(B,)`` classes as one-hot ``(B, K)``; probabilities stay as they are."""
    if targets.ndim > 1:
        return targets
    return torch.nn.functional.one_hot(targets, num_classes).float()


def joint_probabilities(classes: Tensor, num_transformations: int) -> Tensor:
    """``(B, K)`` to ``(B, M, K * M)``: under transformation ``j`` class ``y`` is ``y * M + j``.

    >>> joint_probabilities(torch.eye(3)[[1]], 4).argmax(dim=2)  # class 1 under four rotations
    tensor([[4, 5, 6, 7]])
    """
    transformations = torch.eye(num_transformations, dtype=classes.dtype, device=classes.device)
    joint = classes[:, None, :, None] * transformations[None, :, None, :]
    return joint.flatten(2)
