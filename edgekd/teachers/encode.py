"""From the view that the student sees to the input that a teacher was trained on."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from edgekd.records import ImageInput

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow turns RGB into grey


@dataclass(frozen=True, kw_only=True)
class ViewEncoder:
    """Channels, size and normalisation of a teacher's input.

    Attributes:
        channels: 1 or 3; grey is repeated to RGB, RGB weighed to grey.
        size: ``(H, W)``; ``None`` takes every view as large as it comes.
        mean: Per channel, of pixels in [0, 1].
        std: Per channel, > 0.
    """

    channels: int
    size: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, image: ImageInput) -> Self:
        """The encoder of a preprocessing record."""
        size = (image.height, image.width)
        return cls(channels=image.channels, size=size, mean=image.mean, std=image.std)

    def for_channels(self, channels: int) -> Self:
        """The same normalisation for another number of channels.

        One value repeats; three become the mean that grey pixels have when all channels agree.
        """
        if channels == self.channels:
            return self
        mean, std = (sum(values) / len(values) for values in (self.mean, self.std))
        return type(self)(
            channels=channels, size=self.size, mean=(mean,) * channels, std=(std,) * channels
        )

    def __call__(self, view: Tensor) -> Tensor:
        """``(B, C, H, W)`` in [0, 1] ``->`` ``(B, channels, *size)`` float32, normalised."""
        x = _with_channels(view.float(), self.channels)
        if self.size is not None and x.shape[-2:] != self.size:
            x = functional.interpolate(
                x, size=self.size, mode="bilinear", align_corners=False, antialias=True
            )
        mean, std = (
            torch.tensor(values, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
            for values in (self.mean, self.std)
        )
        return (x - mean) / std


def _with_channels(view: Tensor, channels: int) -> Tensor:
    if view.shape[1] == channels:
        return view
    if view.shape[1] == 1:
        return view.expand(-1, channels, -1, -1)
    luma = torch.tensor(_LUMA, dtype=view.dtype, device=view.device).view(1, -1, 1, 1)
    return (view * luma).sum(dim=1, keepdim=True)
