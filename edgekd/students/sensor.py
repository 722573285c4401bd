"""Students of several sensors: one encoder per modality, and fusion of what they answer.

::

    acc  (B, 9, 125) -> encoder -> map --+
    gyro (B, 9, 125) -> encoder -> map --+-> fusion -> (B, F) -> linear -> (B, K)
    image (B, C, H, W) -> encoder -> map-+

Any of them may be missing at run time. The convention: a missing modality is fed as its training
mean, which normalised is zeros. In training, modality dropout replaces modalities by zeros, so
what an encoder answers to zeros is learned: it stands for "absent", costs nothing and needs no
input of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Self

import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.records import ArchSpec, ImageInput, InputSpec, Record
from edgekd.students import resnet, timm_family
from edgekd.students.fusion import CrossAttention, LateFusion
from edgekd.students.signal_encoders import ConvEncoder, TransformerEncoder

FAMILY: Final = "sensor"

_OPTIONS: Final = {
    "width", "encoder", "image_encoder", "image_width", "fusion", "fused_features",
    "modality_dropout",
}  # fmt: skip


class SensorNetwork(nn.Module):
    """Encoders, fusion, a linear classifier.

    Args:
        encoders: One per input, in the order of the inputs; names are for reading only.
        fusion: From one answer per encoder to ``(B, F)``.
        num_features: ``F``.
        num_classes: ``K``; 0 for no classifier, so that ``(B, F)`` comes out.
        modality_dropout: Chance of each modality to be zeroed for a training sample; one always
            stays.
    """

    classifier_name: Final = "fc"

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: nn.Module,
        *,
        num_features: int,
        num_classes: int,
        modality_dropout: float,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(encoders)
        self.fusion = fusion
        self.fc = nn.Linear(num_features, num_classes) if num_classes else nn.Identity()
        self.num_features = num_features
        self.modality_dropout = modality_dropout

    def forward(self, *inputs: Tensor) -> Tensor:
        """Normalised ``(B, C, T)`` or ``(B, C, H, W)`` per modality ``-> (B, K)`` logits."""
        if self.training and self.modality_dropout > 0 and len(inputs) > 1:
            inputs = drop_modalities(inputs, self.modality_dropout)
        encoded = [encoder(x) for encoder, x in zip(self.encoders.values(), inputs, strict=True)]
        return self.fc(self.fusion(*encoded))  # type: ignore[no-any-return]


def drop_modalities(inputs: Sequence[Tensor], chance: float) -> tuple[Tensor, ...]:
    """Zero each modality of each sample with ``chance``; a sample that lost all keeps all.

    Args:
        inputs: One ``(B, ...)`` per modality, normalised.
        chance: In [0, 1).
    """
    size = len(inputs[0])
    stays = torch.rand(size, len(inputs), device=inputs[0].device) >= chance
    stays |= ~stays.any(dim=1, keepdim=True)
    return tuple(
        x * stays[:, place].view(-1, *(1,) * (x.ndim - 1)).to(x.dtype)
        for place, x in enumerate(inputs)
    )


def parse(
    name: str, options: Mapping[str, Any], *, num_classes: int, inputs: Sequence[InputSpec]
) -> ArchSpec | None:
    """The ArchSpec of ``sensor`` for the inputs at hand, or ``None`` for another name.

    Args:
        name: ``sensor``.
        options: ``width`` (12), ``encoder`` (``conv`` or ``transformer``), ``image_encoder`` (any
            student of images, ``resnet8``) with ``image_width``, ``fusion`` (``late`` or
            ``cross-attention``), ``fused_features`` (64), ``modality_dropout`` (0.2).
        num_classes: ``K``.
        inputs: Of the data, in their order.

    Raises:
        ModelError: If an option is unknown or its value does not fit, or there are too many
            channels.
    """
    if name != FAMILY:
        return None
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        raise ModelError(f"{name}: no option {unknown[0]!r}; it has {sorted(_OPTIONS)}")
    without_images = not any(isinstance(spec, ImageInput) for spec in inputs)
    if without_images and (unread := sorted(options.keys() & {"image_encoder", "image_width"})):
        raise ModelError(f"{name}: there is no image for {unread[0]!r}; take the option out")
    channels = sum(spec.channels for spec in inputs)
    if channels > _MOST_CHANNELS:
        raise ModelError(
            f"{name}: the inputs have {channels:,} channels together, at most {_MOST_CHANNELS:,} "
            "fit; choose some with --modalities"
        )
    listed = [{"name": spec.name, "kind": spec.kind, "shape": list(spec.shape)} for spec in inputs]
    arch = ArchSpec(
        family=FAMILY,
        arguments={"inputs": listed, **options},
        num_classes=num_classes,
        in_channels=channels,
    )
    build(arch)  # refuses what does not fit before any data is decoded
    return arch


def build(arch: ArchSpec) -> SensorNetwork:
    """A freshly initialised module for ``arch``, whose arguments may come from anybody's bundle.

    Raises:
        ModelError: If the arguments are not those of a sensor student of sensible size.
    """
    try:
        arguments = _Arguments.model_validate(arch.arguments)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ModelError(f"sensor: argument {where}: {said}") from error
    names = [part.name for part in arguments.inputs]
    if len(set(names)) != len(names):
        raise ModelError(f"sensor: two inputs of the same name in {names}")
    encoders: dict[str, nn.Module] = {}
    widths = []
    for part in arguments.inputs:
        encoder, width = _encoder(part, arguments)
        encoders[f"{part.name}_encoder"] = encoder
        widths.append(width)
    fusion = _FUSIONS[arguments.fusion](widths, arguments.fused_features)
    return SensorNetwork(
        encoders,
        fusion,
        num_features=arguments.fused_features,
        num_classes=arch.num_classes if arch.embedding_dim is None else 0,
        modality_dropout=arguments.modality_dropout,
    )


def num_features(module: SensorNetwork) -> int:
    """``F``: what fusion answers."""
    return module.num_features


_MOST_CHANNELS: Final = 4096  # of all inputs together, as ArchSpec counts them
_LONGEST: Final = 1 << 24  # time steps, far beyond any window
_AXES: Final = {"image": 3, "signal": 2}  # (C, H, W) and (C, T)


class _Input(Record):
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")
    kind: Literal["image", "signal"]
    shape: list[Annotated[int, Field(ge=1, le=_LONGEST)]]

    @model_validator(mode="after")
    def _is_of_its_kind(self) -> Self:
        if len(self.shape) != _AXES[self.kind] or self.shape[0] > _MOST_CHANNELS:
            raise ValueError(
                f"{self.kind} of shape {self.shape}; expected {_AXES[self.kind]} numbers, the "
                f"first at most {_MOST_CHANNELS} channels"
            )
        return self


class _Arguments(Record):
    inputs: list[_Input] = Field(min_length=1, max_length=64)
    width: int = Field(default=12, ge=1, le=1024)
    encoder: Literal["conv", "transformer"] = "conv"
    image_encoder: str = "resnet8"
    image_width: int | None = Field(default=None, ge=1, le=1024)
    fusion: Literal["late", "cross-attention"] = "late"
    fused_features: int = Field(default=64, ge=1, le=4096)
    modality_dropout: float = Field(default=0.2, ge=0, lt=1)


_FUSIONS: Final = {"late": LateFusion, "cross-attention": CrossAttention}
_ENCODERS: Final[Mapping[str, type[ConvEncoder] | type[TransformerEncoder]]] = {
    "conv": ConvEncoder,
    "transformer": TransformerEncoder,
}


def _encoder(part: _Input, arguments: _Arguments) -> tuple[nn.Module, int]:
    """The encoder of one input, and the channels of what it answers."""
    if part.kind == "signal":
        channels, length = part.shape[0], part.shape[-1]
        encoder: ConvEncoder | TransformerEncoder
        encoder = _ENCODERS[arguments.encoder](channels, length, arguments.width)
        return encoder, encoder.num_features
    return _image_encoder(part, arguments)


def _image_encoder(part: _Input, arguments: _Arguments) -> tuple[nn.Module, int]:
    channels, height, width = part.shape
    options = {} if arguments.image_width is None else {"width": arguments.image_width}
    own = resnet.parse(arguments.image_encoder, options, num_classes=1, in_channels=channels)
    if own is not None:  # an embedding network's backbone: no classifier
        backbone = resnet.build(own.model_copy(update={"embedding_dim": 1}))
        return backbone, backbone.num_features
    spec = timm_family.parse(
        arguments.image_encoder,
        options,
        num_classes=1,
        in_channels=channels,
        input_size=(height, width),
        embedding_dim=1,
    )
    module = timm_family.build(spec)
    return module, timm_family.num_features(module)


def is_for(inputs: Sequence[InputSpec]) -> bool:
    """Whether only this family takes such inputs: anything but one image."""
    return len(inputs) != 1 or not isinstance(inputs[0], ImageInput)
