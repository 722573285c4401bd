"""What every teacher is to the training loop."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, Self

import torch
from torch import Tensor, nn

from edgekd.records import TeacherRef

Capability = Literal["logits", "features", "attention", "embedding", "pooled"]
"""What a method may need: every kind gives logits, some give what happens on the way to them, and
those taught for retrieval an embedding."""

LayerChoice = Callable[[nn.Module], Sequence[nn.Module]]
"""From a teacher's network to the layers whose pooled outputs are asked for."""


@dataclass(frozen=True, kw_only=True)
class TeacherOutput:
    """A teacher's answer to one batch; no gradient flows into any of it."""

    logits: Tensor
    """``(B, K)`` float32, not softmaxed; up to a constant per row for a teacher that was saved
    with its softmax. For retrieval ``K`` counts the identities of the training split."""
    features: tuple[Tensor, ...] = ()
    """One ``(B, C, H, W)`` map per stage, first to last; empty unless asked for on opening."""
    attention: tuple[Tensor, ...] = ()
    """One ``(B, heads, N, N)`` map of softmaxed weights per block, first to last; empty unless
    asked for on opening."""
    embedding: Tensor | None = None
    """``(B, D)`` float32, of a teacher for retrieval."""
    pooled: tuple[Tensor, ...] = ()
    """One ``(B, C)`` float32 per layer that was asked for on opening: the spatial mean of what it
    answered, in the order the layers ran."""


class Teacher(Protocol):
    """A frozen network that answers views.

    A teacher is deliberately not an ``nn.Module``: a method may keep it as an attribute, and it
    stays in eval mode, out of optimizers, state dicts and checkpoints.
    """

    ref: TeacherRef
    """Where it came from, for the student's provenance."""
    num_classes: int
    """``K``."""
    gives: frozenset[Capability]
    """What it can give; the output holds the part of it that was asked for on opening."""

    def to(self, device: torch.device) -> Self:
        """Compute on ``device`` from now on, where the kind can."""

    def __call__(self, *views: Tensor) -> TeacherOutput:
        """Answer the augmented views the student sees.

        Args:
            views: One per input of the data: ``(B, C, H, W)`` float in [0, 1] of an image,
                ``(B, C, T)`` of a sensor, not normalised; channels, size and normalisation become
                the teacher's own in here.
        """
