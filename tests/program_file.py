"""Small torch.export programs."""

from pathlib import Path

import torch
from torch import Tensor, nn


class BatchNormed(nn.Module):
    """A convolution with a norm, a norm that follows no layer, and a classifier of 5 classes."""

    def __init__(self, channels: int = 3, num_classes: int = 5) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(channels, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.loose = nn.BatchNorm2d(4)
        self.classify = nn.Linear(4, num_classes)
        for tensor in (*self.parameters(), *(b for b in self.buffers() if b.is_floating_point())):
            tensor.data = torch.rand(tensor.shape, generator=generator) + 0.1

    def forward(self, x: Tensor) -> Tensor:
        x = self.loose(self.norm(self.conv(x)).relu())
        return self.classify(x.mean((2, 3)))


class BatchOfOne(BatchNormed):
    """The same, with the batch axis of its example built in."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).reshape(1, -1)


def saved(
    network: nn.Module, path: Path, *, batch: int | None = None, shape: tuple[int, ...] = (3, 8, 8)
) -> Path:
    """Export and save; ``batch=None`` leaves the batch dynamic."""
    dynamic = ({0: torch.export.Dim("batch", min=1, max=1024)},) if batch is None else None
    example = (torch.zeros(batch or 2, *shape),)
    torch.export.save(torch.export.export(network, example, dynamic_shapes=dynamic), path)
    return path
