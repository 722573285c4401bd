"""From what the encoders of several modalities answer to one vector of features."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from edgekd.students.signal_encoders import attention

_MAP_AXES: Final = 4  # (B, C, H, W)
_VECTOR_AXES: Final = 2  # (B, C)


class LateFusion(nn.Module):
    """Every answer pooled, all side by side, one hidden layer.

    Args:
        widths: Channels of every encoder's answer.
        num_features: ``F``.
    """

    def __init__(self, widths: Sequence[int], num_features: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(sum(widths), num_features), nn.ReLU())

    def forward(self, *encoded: Tensor) -> Tensor:
        """Maps, tokens or vectors ``-> (B, F)``."""
        return self.hidden(torch.cat([_pooled(x) for x in encoded], dim=1))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Each modality's pooled answer asks the positions of all modalities.

    Args:
        widths: Channels of every encoder's answer.
        num_features: ``F``; also the width in which modalities meet.
    """

    def __init__(self, widths: Sequence[int], num_features: int) -> None:
        super().__init__()
        self.project = nn.ModuleList(nn.Linear(width, num_features) for width in widths)
        self.query = nn.Linear(num_features, num_features)
        self.key = nn.Linear(num_features, num_features)
        self.norm = nn.LayerNorm(num_features)
        self.hidden = nn.Sequential(nn.Linear(len(widths) * num_features, num_features), nn.ReLU())

    def forward(self, *encoded: Tensor) -> Tensor:
        """Maps, tokens or vectors ``-> (B, F)``."""
        sequences = [
            project(_positions(x)) for project, x in zip(self.project, encoded, strict=True)
        ]
        tokens = torch.cat(sequences, dim=1)
        asking = torch.stack([sequence.mean(dim=1) for sequence in sequences], dim=1)
        found = attention(self.query(asking), self.key(tokens), tokens)
        return self.hidden(self.norm(asking + found).flatten(1))  # type: ignore[no-any-return]


def _pooled(answer: Tensor) -> Tensor:
    """``(B, C, H, W)`` maps, ``(B, N, C)`` tokens or ``(B, C)`` vectors as ``(B, C)``."""
    if answer.ndim == _MAP_AXES:
        return answer.mean(dim=(2, 3))
    return answer if answer.ndim == _VECTOR_AXES else answer.mean(dim=1)


def _positions(answer: Tensor) -> Tensor:
    """The same answers as ``(B, positions, C)``."""
    if answer.ndim == _MAP_AXES:
        return answer.flatten(2).transpose(1, 2)
    return answer.unsqueeze(1) if answer.ndim == _VECTOR_AXES else answer
