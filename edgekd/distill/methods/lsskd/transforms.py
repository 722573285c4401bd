"""Transformations that keep a sample's class, and which of them suits which data.

They work on normalised inputs, so a quarter turn is exact and a scaled window is scaled around the
training mean. Number 0 is always the sample as it is.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor

from edgekd.config import TransformationName
from edgekd.errors import ConfigError
from edgekd.records import ImageInput, InputSpec

Transformation = Callable[[Tensor], Tensor]
Kind = Literal["image", "signal"]

_COLOURS: Final = 3
_SCALE: Final = 0.5  # far enough from 1 to be told apart, edgekd's own


def identity(x: Tensor) -> Tensor:
    """The sample as it is."""
    return x


def _rotation(quarters: int) -> Transformation:
    return lambda x: torch.rot90(x, quarters, dims=(2, 3))


def _channel_order(order: Sequence[int]) -> Transformation:
    return lambda x: x[:, list(order)]


def _patches(down: bool, right: bool) -> Transformation:
    """The four quadrants in another arrangement: the image rolled by half its sides."""

    def roll(x: Tensor) -> Tensor:
        shifts = (x.shape[2] // 2 if down else 0, x.shape[3] // 2 if right else 0)
        return torch.roll(x, shifts, dims=(2, 3))

    return roll


def _permuted_segments(x: Tensor) -> Tensor:
    """Four segments of a window as 3, 1, 4, 2: no two stay side by side."""
    first, second, third, fourth = torch.tensor_split(x, 4, dim=2)
    return torch.cat([third, first, fourth, second], dim=2)


@dataclass(frozen=True, kw_only=True)
class Family:
    """Transformations of one name."""

    kind: Kind
    others: tuple[Transformation, ...]
    """All but the identity."""


FAMILIES: Final[Mapping[TransformationName, Family]] = {
    "rotate": Family(kind="image", others=tuple(_rotation(k) for k in (1, 2, 3))),
    "colour": Family(
        kind="image",
        others=tuple(_channel_order(o) for o in list(itertools.permutations(range(_COLOURS)))[1:]),
    ),
    "patches": Family(
        kind="image",
        others=(_patches(False, True), _patches(True, False), _patches(True, True)),
    ),
    "reverse": Family(kind="signal", others=(lambda x: x.flip(2),)),
    "negate": Family(kind="signal", others=(torch.neg,)),
    "permute": Family(kind="signal", others=(_permuted_segments,)),
    "scale": Family(kind="signal", others=(lambda x: _SCALE * x,)),
}
"""Name -> what it does. To add one: a line here and its name in the recipe."""

_SIGNAL_DEFAULT: Final[tuple[TransformationName, ...]] = ("reverse", "negate", "permute", "scale")


class Transformations:
    """M transformations of every input: number ``j`` changes all inputs of a sample at once.

    Args:
        per_input: For every input M functions ``(B, ...) -> (B, ...)``, the identity first.
    """

    def __init__(self, per_input: Sequence[Sequence[Transformation]]) -> None:
        self._per_input = tuple(tuple(functions) for functions in per_input)
        self.count = len(self._per_input[0])
        """``M``."""

    def all_views(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Per input ``(M * B, ...)``: the whole batch under transformation 0, under 1, ..."""
        return tuple(
            torch.cat([function(x) for function in functions])
            for functions, x in zip(self._per_input, inputs, strict=True)
        )


def choose_transformations(
    names: Sequence[TransformationName] | Literal["auto"], specs: Sequence[InputSpec]
) -> tuple[Transformations, tuple[TransformationName, ...]]:
    """The transformations of a recipe for a network's inputs, and their names.

    Where there are inputs of both kinds, each kind has its own, paired by number, and M is that
    of the kind with fewer: every input must show which transformation it underwent.

    Raises:
        ConfigError: If one does not suit the data, or a kind of input is left without any.
    """
    chosen = _automatic(specs) if names == "auto" else tuple(dict.fromkeys(names))
    for name in chosen:
        _check(name, specs)
    functions: dict[str, list[Transformation]] = {spec.kind: [identity] for spec in specs}
    for name in chosen:
        functions[FAMILIES[name].kind] += FAMILIES[name].others
    count = min(len(found) for found in functions.values())
    if count < 2:
        missing = [kind for kind, found in functions.items() if len(found) < 2]
        raise ConfigError(
            f"lsskd.transformations: {list(chosen)} leaves inputs of kind {missing[0]} as they "
            f"are; add one of {_names_for(missing[0])}"
        )
    return Transformations([functions[spec.kind][:count] for spec in specs]), chosen


def _automatic(specs: Sequence[InputSpec]) -> tuple[TransformationName, ...]:
    chosen: list[TransformationName] = []
    images = [spec for spec in specs if isinstance(spec, ImageInput)]
    if images:
        natural = all(spec.channels == _COLOURS and spec.height == spec.width for spec in images)
        chosen.append("rotate" if natural else "patches")
    if len(images) < len(specs):
        chosen += _SIGNAL_DEFAULT
    return tuple(chosen)


def _check(name: TransformationName, specs: Sequence[InputSpec]) -> None:
    kinds = {spec.kind for spec in specs}
    kind = FAMILIES[name].kind
    if kind not in kinds:
        found = " and ".join(sorted(kinds))
        why = (
            "a window of sensor values has no upright" if name == "rotate" else "nothing to change"
        )
        raise ConfigError(
            f"lsskd.transformations: {name!r} is for inputs of kind {kind}, the data have {found} "
            f"({why}); choose from {_names_for(next(iter(kinds)))}"
        )
    images = [spec for spec in specs if isinstance(spec, ImageInput)]
    if name == "rotate" and any(spec.height != spec.width for spec in images):
        raise ConfigError(
            "lsskd.transformations: a quarter turn needs square images, these are "
            f"{images[0].height}x{images[0].width}; give input_size, or choose patches"
        )
    if name == "colour" and any(spec.channels != _COLOURS for spec in images):
        raise ConfigError(
            "lsskd.transformations: 'colour' needs three channels, these images are grey; "
            "choose patches or rotate"
        )


def _names_for(kind: str) -> str:
    return ", ".join(name for name, family in FAMILIES.items() if family.kind == kind)
