"""From what the encoders of several modalities answer to one vector of features."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgekd.students.answers import as_tokens, pooled
from edgekd.students.signal_encoders import attention


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
        return self.hidden(torch.cat([pooled(x) for x in encoded], dim=1))  # type: ignore[no-any-return]


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
            project(as_tokens(x)) for project, x in zip(self.project, encoded, strict=True)
        ]
        tokens = torch.cat(sequences, dim=1)
        asking = torch.stack([sequence.mean(dim=1) for sequence in sequences], dim=1)
        found = attention(self.query(asking), self.key(tokens), tokens)
        return self.hidden(self.norm(asking + found).flatten(1))  # type: ignore[no-any-return]
