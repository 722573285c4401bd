"""Encoders of one sensor's windows: 1-D convolutions, or a transformer over patches of time.

A window ``(B, C, T)`` is treated as an image of height 1, so that the kernels, the quantizers and
the counting of images serve it as they are.
"""

from typing import Final

import torch
from torch import Tensor, nn

_KERNEL: Final = 5  # at 25 Hz a fifth of a second
_STAGES: Final = 3
_PATCHES: Final = 16  # tokens of a transformer, about
_BLOCKS: Final = 3
_HEADS: Final = 2


class ConvEncoder(nn.Module):
    """A stem and three residual stages; every stage halves the time and doubles the channels.

    Where time is shorter than a kernel the kernel shrinks; a vector (``T = 1``) gets pointwise
    layers, which is a small perceptron.

    Args:
        in_channels: ``C``.
        length: ``T``.
        width: Channels of the first stage.
    """

    def __init__(self, in_channels: int, length: int, width: int) -> None:
        super().__init__()
        kernel = min(_KERNEL, length if length % 2 else length - 1)
        stride = 2 if length >= 2 * _KERNEL else 1
        self.stem = nn.Sequential(
            _conv(in_channels, width, kernel, stride), nn.BatchNorm2d(width), nn.ReLU()
        )
        stages, channels = [], width
        for stage in range(_STAGES):
            stride = 2 if stage and length >= 2 * _KERNEL else 1
            stages.append(SignalBlock(channels, width * 2**stage, kernel, stride))
            channels = width * 2**stage
        self.stages = nn.ModuleList(stages)
        self.num_features = channels

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T) -> (B, F, 1, T')``."""
        x = self.stem(x.unsqueeze(2))
        for stage in self.stages:
            x = stage(x)
        return x


class SignalBlock(nn.Module):
    """Two convolutions over time with a shortcut around them."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, out_channels, kernel, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv(out_channels, out_channels, kernel, 1)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                _conv(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C_in, 1, T) -> (B, C_out, 1, T / stride)``."""
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(residual + self.shortcut(x))  # type: ignore[no-any-return]


class TransformerEncoder(nn.Module):
    """Patches of time as tokens, learned positions, pre-norm blocks.

    A patch has ``T // 16`` steps, at least one. What is behind the last whole patch is not read:
    125 steps are 17 patches of 7, and the last 6 are left out.

    Args:
        in_channels: ``C``.
        length: ``T``.
        width: A third of the tokens' width, so that its default costs what convolutions cost.
    """

    def __init__(self, in_channels: int, length: int, width: int) -> None:
        super().__init__()
        features = 3 * width + width % 2  # even, for two heads
        patch = max(1, length // _PATCHES)
        self.patches = nn.Conv2d(in_channels, features, (1, patch), stride=(1, patch))
        self.positions = nn.Parameter(torch.randn(1, length // patch, features) * 0.02)
        self.stages = nn.ModuleList(AttentionBlock(features) for _ in range(_BLOCKS))
        self.num_features = features

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T) -> (B, N, F)`` tokens."""
        tokens = self.patches(x.unsqueeze(2)).flatten(2).transpose(1, 2) + self.positions
        for stage in self.stages:
            tokens = stage(tokens)
        return tokens  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Self-attention and a perceptron twice as wide, each behind a LayerNorm."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(features)
        self.qkv = nn.Linear(features, 3 * features)
        self.project = nn.Linear(features, features)
        self.norm2 = nn.LayerNorm(features)
        self.mlp = nn.Sequential(
            nn.Linear(features, 2 * features), nn.GELU(), nn.Linear(2 * features, features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(B, N, F) -> (B, N, F)``."""
        x = x + self.project(self._attend(self.norm1(x)))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]

    def _attend(self, x: Tensor) -> Tensor:
        batch, tokens, features = x.shape
        parts = self.qkv(x).view(batch, tokens, 3 * _HEADS, features // _HEADS).transpose(1, 2)
        query, key, value = parts.split(_HEADS, dim=1)
        return attention(query, key, value).transpose(1, 2).reshape(batch, tokens, features)


def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention in plain products, which every converter and quantizer knows.

    Args:
        query: ``(..., Q, D)``.
        key: ``(..., N, D)``.
        value: ``(..., N, D)``.

    Returns:
        ``(..., Q, D)``.
    """
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    found: Tensor = scores.softmax(dim=-1) @ value
    return found


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(
        in_channels,
        out_channels,
        (1, kernel),
        stride=(1, stride),
        padding=(0, kernel // 2),
        bias=False,
    )
