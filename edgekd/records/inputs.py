"""How raw samples become input tensors: the same in training, calibration and on a device."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edgekd.records.base import Record


class ImageInput(Record):
    """How one image becomes an input tensor: decode, fit to size, scale to [0, 1], normalise.

    ``x = (pixel / 255 - mean) / std`` per channel; ``fit`` says how other shapes become
    ``height x width``: ``crop`` resizes the short side and crops the centre, ``squash``
    ignores the aspect ratio, ``pad`` resizes the long side and pads with black.
    """

    kind: Literal["image"] = "image"
    name: str = "image"
    channels: Literal[1, 3]
    height: int = Field(ge=1, le=8192)
    width: int = Field(ge=1, le=8192)
    fit: Literal["crop", "squash", "pad"] = "crop"
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need {self.channels} values each")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, H, W)``: what the network takes, without the batch axis."""
        return self.channels, self.height, self.width


class SignalInput(Record):
    """How one sensor window ``(C, T)`` becomes an input tensor: ``x = (value - mean) / std``.

    Where ``clip`` is given, ``x`` is then limited to ``[-clip, clip]``: a rare extreme must not
    cost int8 the resolution of everything else.
    """

    kind: Literal["signal"] = "signal"
    name: str
    channels: int = Field(ge=1)
    length: int = Field(ge=1)
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    clip: float | None = Field(default=None, gt=0)
    """In standard deviations."""

    @model_validator(mode="after")
    def _one_value_per_channel(self) -> Self:
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean and std need {self.channels} values each")
        return self

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, T)``: what the network takes, without the batch axis."""
        return self.channels, self.length


InputSpec = Annotated[ImageInput | SignalInput, Field(discriminator="kind")]


class Preprocess(Record):
    """One entry per model input: the same object in training, calibration and on the device."""

    inputs: tuple[InputSpec, ...] = Field(min_length=1)

    @property
    def image(self) -> ImageInput:
        """The single image input.

        Raises:
            ValueError: If the model takes anything but exactly one image.
        """
        if len(self.inputs) != 1 or not isinstance(self.inputs[0], ImageInput):
            raise ValueError(f"expected one image input, found {[i.name for i in self.inputs]}")
        return self.inputs[0]
