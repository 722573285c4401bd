"""ResNets of both styles with an inner width of its own for every residual block.

CIFAR style (He et al. 2015, arXiv:1512.03385, section 4.2): a 3x3 stem and three stages of basic
blocks, ``depth = 6 n + 2``. ImageNet style (table 1 there): a 7x7 stem with pooling and four
stages. Shortcuts are projections (option B). The last BatchNorm of a block is not initialised to
zero: a converter folds a branch of zeros away, and such a file measures nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field, ValidationError
from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.records import ArchSpec, Record
from edgekd.students.residual import BLOCKS

FAMILY: Final = "resnet"

_CIFAR_BLOCKS: Final = {8: 1, 14: 2, 20: 3, 32: 5, 44: 7, 56: 9, 110: 18}
_IMAGENET_LAYOUTS: Final[dict[int, tuple[str, tuple[int, ...]]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
NAMES: Final = tuple(f"resnet{depth}" for depth in sorted({*_CIFAR_BLOCKS, *_IMAGENET_LAYOUTS}))
"""Of the whole family."""
_STEM_STRIDES: Final = {"cifar": 1, "imagenet": 2}
_MAX_WIDTH: Final = 4096
_OPTIONS: Final = ("blocks", "last_stride", "stem_stride", "style", "width")
"""What of a network's arguments a name leaves to the user."""


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global average pooling, a linear classifier.

    Args:
        style: ``"cifar"`` or ``"imagenet"``: which stem.
        block: ``"basic"`` or ``"bottleneck"``.
        blocks: Residual blocks per stage; the first of every stage but the first halves H and W.
        width: Channels of the first stage before expansion; every stage doubles them.
        num_classes: ``K``; 0 for no classifier, so that the pooled features ``(B, F)`` come out.
        in_channels: ``C`` of the input.
        widths: Inner channels of every block in order; ``None`` for the stage's own width.
        stem_stride: Of the stem's convolution; as published 1 in CIFAR and 2 in ImageNet style.
            Twice that quarters the pixels of every stage, which pays in int8, where a pixel costs
            more than a channel.
        last_stride: Stride of the last stage, 2 as published or 1 as retrieval networks use it.

    Raises:
        ModelError: If ``widths`` does not have one positive entry per block.
    """

    classifier_name: Final = "fc"

    def __init__(
        self,
        *,
        style: str,
        block: str,
        blocks: Sequence[int],
        width: int,
        num_classes: int,
        in_channels: int,
        widths: Sequence[int] | None = None,
        stem_stride: int | None = None,
        last_stride: int = 2,
    ) -> None:
        super().__init__()
        kind = BLOCKS[block]
        inner_widths = _inner_widths(blocks, width, widths)
        self.stem = _stem(style, in_channels, width, stem_stride or _STEM_STRIDES[style])
        stages: list[nn.Module] = []
        channels = width
        for stage, count in enumerate(blocks):
            out_channels = width * 2**stage * kind.expansion
            stride = 1 if stage == 0 else last_stride if stage == len(blocks) - 1 else 2
            layers = []
            for index in range(count):
                inner = inner_widths.pop(0)
                layers.append(kind(channels, inner, out_channels, stride if index == 0 else 1))
                channels = out_channels
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes) if num_classes else nn.Identity()
        self.num_features = channels
        self.apply(_initialise)

    def forward_stages(self, x: Tensor) -> tuple[Tensor, ...]:
        """``(B, C, H, W) ->`` the feature map after each stage."""
        maps = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` normalised ``-> (B, K)`` logits, or ``(B, F)`` without a classifier."""
        features = self.pool(self.forward_stages(x)[-1])
        return self.fc(torch.flatten(features, 1))  # type: ignore[no-any-return]


def parse(
    name: str, options: Mapping[str, Any], *, num_classes: int, in_channels: int
) -> ArchSpec | None:
    """The ArchSpec of ``resnet<depth>``, or ``None`` if the name is not of this family.

    Options replace what the name stands for: ``{"style": "cifar"}`` gives a deep network the stem
    of small images, ``{"blocks": [1, 1, 1, 1]}`` a number of stages and blocks of its own.

    >>> parse("resnet20", {"width": 32}, num_classes=10, in_channels=3).arguments["blocks"]
    [3, 3, 3]

    Raises:
        ModelError: If the depth does not exist or an option is unknown or out of range.
    """
    match = re.fullmatch(r"resnet(\d+)", name)
    if match is None:
        return None
    depth = int(match[1])
    arguments: dict[str, Any]
    if depth in _CIFAR_BLOCKS:
        blocks = [_CIFAR_BLOCKS[depth]] * 3
        arguments = {"style": "cifar", "block": "basic", "blocks": blocks, "width": 16}
    elif depth in _IMAGENET_LAYOUTS:
        block, layout = _IMAGENET_LAYOUTS[depth]
        arguments = {"style": "imagenet", "block": block, "blocks": list(layout), "width": 64}
    else:
        raise ModelError(
            f"{name}: no such depth; CIFAR style has {sorted(_CIFAR_BLOCKS)}, "
            f"ImageNet style {sorted(_IMAGENET_LAYOUTS)}, and timm:{name} may exist"
        )
    for option in options:
        if option not in _OPTIONS:
            raise ModelError(f"{name}: no option {option!r}; it has {list(_OPTIONS)}")
    arguments |= options
    _checked(arguments, what=f"{name}: option")
    return ArchSpec(
        family=FAMILY,
        arguments=arguments,
        num_classes=num_classes,
        in_channels=in_channels,
    )


def build(arch: ArchSpec) -> ResNet:
    """A freshly initialised module for ``arch``, whose arguments may come from anybody's bundle.

    It has a classifier unless ``arch`` is that of an embedding network.

    Raises:
        ModelError: If the arguments are not those of a ResNet of sensible size.
    """
    arguments = _checked(arch.arguments, what="resnet: argument")
    return ResNet(
        **arguments.model_dump(),
        widths=arch.widths,
        num_classes=arch.num_classes if arch.embedding_dim is None else 0,
        in_channels=arch.in_channels,
    )


def num_features(module: ResNet) -> int:
    """``F``: channels of the last stage, which pooling leaves."""
    return module.num_features


class _Arguments(Record):
    style: Literal["cifar", "imagenet"]
    block: Literal["basic", "bottleneck"]
    blocks: list[Annotated[int, Field(ge=1, le=100)]] = Field(min_length=1, max_length=6)
    width: int = Field(ge=1, le=_MAX_WIDTH)
    stem_stride: Literal[1, 2] | None = None
    last_stride: Literal[1, 2] = 2


def _checked(arguments: Mapping[str, Any], *, what: str) -> _Arguments:
    try:
        return _Arguments.model_validate(arguments)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key, *_ = first["loc"]
        message = f"{first['msg'][0].lower()}{first['msg'][1:]}"
        raise ModelError(f"{what} {key} = {arguments.get(str(key))!r}: {message}") from error


def _inner_widths(blocks: Sequence[int], width: int, widths: Sequence[int] | None) -> list[int]:
    if widths is None:
        return [width * 2**stage for stage, count in enumerate(blocks) for _ in range(count)]
    if len(widths) != sum(blocks) or min(widths) < 1:
        raise ModelError(f"resnet: widths needs {sum(blocks)} positive entries, found {widths}")
    return list(widths)


def _stem(style: str, in_channels: int, width: int, stride: int) -> nn.Sequential:
    if style == "cifar":
        convolution = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    if style == "imagenet":
        convolution = nn.Conv2d(in_channels, width, 7, stride, padding=3, bias=False)
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True), pool)
    raise ModelError(f"resnet: style {style!r} does not exist; expected cifar or imagenet")


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
