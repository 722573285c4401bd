"""From the views that the student sees to the inputs that a teacher was trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from edgekd.records import ImageInput, SignalInput

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


@dataclass(frozen=True, kw_only=True)
class SignalEncoder:
    """Normalisation of a teacher's sensor.

    Attributes:
        spec: As the teacher was trained with.
    """

    spec: SignalInput

    def __call__(self, view: Tensor) -> Tensor:
        """``(B, C, T)`` as decoded ``->`` the same shape in float32, normalised and limited."""
        x = view.float()
        mean, std = (
            torch.tensor(values, dtype=x.dtype, device=x.device).view(1, -1, 1)
            for values in (self.spec.mean, self.spec.std)
        )
        normalised = (x - mean) / std
        limit = self.spec.clip
        return normalised if limit is None else normalised.clamp(-limit, limit)


@dataclass(frozen=True, kw_only=True)
class InputsEncoder:
    """All views of a sample to all that a teacher takes, in its own order.

    Attributes:
        parts: Per input of the teacher the place of its view among those of the data, and what is
            done to it.
    """

    parts: Sequence[tuple[int, ViewEncoder | SignalEncoder]]

    @classmethod
    def of_image(cls, encoder: ViewEncoder) -> Self:
        """For data and a teacher of one image."""
        return cls(parts=((0, encoder),))

    @property
    def image(self) -> ViewEncoder | None:
        """The only input, where it is an image."""
        first = self.parts[0][1]
        return first if len(self.parts) == 1 and isinstance(first, ViewEncoder) else None

    def __call__(self, views: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One tensor per input of the data to one per input of the teacher."""
        return tuple(encode(views[place]) for place, encode in self.parts)


def _with_channels(view: Tensor, channels: int) -> Tensor:
    if view.shape[1] == channels:
        return view
    if view.shape[1] == 1:
        return view.expand(-1, channels, -1, -1)
    luma = torch.tensor(_LUMA, dtype=view.dtype, device=view.device).view(1, -1, 1, 1)
    return (view * luma).sum(dim=1, keepdim=True)
