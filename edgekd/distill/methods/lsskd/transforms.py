"""Transformations that keep a sample's class, and which of them suits which data.

They work on normalised inputs, so a quarter turn is exact and a scaled window is scaled around the
training mean. Number 0 is always the sample as it is. No two of them may be the same function: then
one input would have two labels.
"""

import itertools
from collections import Counter
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
    """Four segments of a window as 3, 1, 4, 2: no two stay side by side; three steps at least."""
    first, second, third, fourth = torch.tensor_split(x, 4, dim=2)
    return torch.cat([third, first, fourth, second], dim=2)


@dataclass(frozen=True, kw_only=True)
class Family:
    """Transformations of one name."""

    kind: Kind
    others: tuple[Transformation, ...]
    """All but the identity."""
    min_length: int = 1
    """Steps of a window, or pixels of an image's shorter side, below which some of them are the
    identity."""


FAMILIES: Final[Mapping[TransformationName, Family]] = {
    "rotate": Family(kind="image", others=tuple(_rotation(k) for k in (1, 2, 3)), min_length=2),
    "colour": Family(
        kind="image",
        others=tuple(_channel_order(o) for o in list(itertools.permutations(range(_COLOURS)))[1:]),
    ),
    "patches": Family(
        kind="image",
        others=(_patches(False, True), _patches(True, False), _patches(True, True)),
        min_length=2,
    ),
    "reverse": Family(kind="signal", others=(lambda x: x.flip(2),), min_length=2),
    "negate": Family(kind="signal", others=(torch.neg,)),
    "permute": Family(kind="signal", others=(_permuted_segments,), min_length=3),
    "scale": Family(kind="signal", others=(lambda x: _SCALE * x,)),
}
"""Name -> what it does. To add one: a line here and its name in the recipe."""

_SIGNAL_DEFAULT: Final[tuple[TransformationName, ...]] = ("reverse", "negate", "permute", "scale")


class Transformations:
    """M transformations of every input: number ``j`` changes all inputs of a sample at once.

    Args:
        per_input: For every input M functions ``(B, ...) -> (B, ...)``, the identity first.
        names: Per kind of input, what numbers 1 to M - 1 are called.
    """

    def __init__(
        self,
        per_input: Sequence[Sequence[Transformation]],
        names: Mapping[Kind, tuple[TransformationName, ...]],
    ) -> None:
        self._per_input = tuple(tuple(functions) for functions in per_input)
        self.names = names
        self.count = len(self._per_input[0])
        """``M``."""

    def all_views(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Per input ``(M * B, ...)``: the whole batch under transformation 0, under 1, ..."""
        return tuple(
            torch.cat([function(x) for function in functions])
            for functions, x in zip(self._per_input, inputs, strict=True)
        )

    def described(self) -> str:
        """Every name that is used, per kind, and how much of it where that is not all."""
        return "; ".join(f"{kind} {_used(names)}" for kind, names in self.names.items())


def _used(names: Sequence[TransformationName]) -> str:
    wholes = {name: len(FAMILIES[name].others) for name in names}
    return ", ".join(
        name if count == wholes[name] else f"{name} ({count} of {wholes[name]})"
        for name, count in Counter(names).items()
    )


def choose_transformations(
    names: Sequence[TransformationName] | Literal["auto"], specs: Sequence[InputSpec]
) -> Transformations:
    """The transformations of a recipe for a network's inputs.

    Where there are inputs of both kinds, each kind has its own, paired by number: every input must
    show which transformation it underwent, so both kinds need as many. ``auto`` leaves the last
    ones of the kind with more out.

    Raises:
        ConfigError: If one does not suit the data, a kind of input is left without any, or the
            kinds were given different numbers of them by name.
    """
    chosen = _automatic(specs) if names == "auto" else tuple(dict.fromkeys(names))
    for name in chosen:
        _check(name, specs)
    named: dict[Kind, list[TransformationName]] = {spec.kind: [] for spec in specs}
    functions: dict[Kind, list[Transformation]] = {spec.kind: [identity] for spec in specs}
    for name in chosen:
        family = FAMILIES[name]
        named[family.kind] += [name] * len(family.others)
        functions[family.kind] += family.others
    others = _number_in_common(chosen, named, is_automatic=names == "auto")
    return Transformations(
        [functions[spec.kind][: others + 1] for spec in specs],
        {kind: tuple(found[:others]) for kind, found in named.items()},
    )


def _automatic(specs: Sequence[InputSpec]) -> tuple[TransformationName, ...]:
    chosen: list[TransformationName] = []
    images = [spec for spec in specs if isinstance(spec, ImageInput)]
    if images:
        natural = all(spec.channels == _COLOURS and spec.height == spec.width for spec in images)
        chosen.append("rotate" if natural else "patches")
    if len(images) < len(specs):
        chosen += _SIGNAL_DEFAULT
    return tuple(name for name in chosen if _too_short(name, specs) is None)


def _number_in_common(
    chosen: Sequence[TransformationName],
    named: Mapping[Kind, Sequence[TransformationName]],
    *,
    is_automatic: bool,
) -> int:
    """How many transformations, the identity aside, every kind of input has."""
    in_order = sorted(named, key=lambda kind: len(named[kind]))
    fewest, most = in_order[0], in_order[-1]
    few, many = len(named[fewest]), len(named[most])
    if not few:
        raise ConfigError(
            f"lsskd.transformations: {list(chosen)} leaves inputs of kind {fewest} as they are; "
            f"add one of {_names_for(fewest)}"
        )
    if few < many and not is_automatic:
        raise ConfigError(
            f"lsskd.transformations: {list(chosen)} changes inputs of kind {most} in {many} ways, "
            f"of kind {fewest} in {few}; they are paired, so name as many for each (kind {most} "
            f"has {_names_for(most)}; kind {fewest} has {_names_for(fewest)}), or take auto"
        )
    return few


def _too_short(name: TransformationName, specs: Sequence[InputSpec]) -> InputSpec | None:
    """The first input that would stay as it is."""
    family = FAMILIES[name]
    changed = (spec for spec in specs if spec.kind == family.kind)
    return next((spec for spec in changed if min(spec.shape[1:]) < family.min_length), None)


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
    short = _too_short(name, specs)
    if short is not None:
        raise ConfigError(
            f"lsskd.transformations: {name!r} needs a length of {FAMILIES[name].min_length}, "
            f"{short.name!r} has {min(short.shape[1:])} and would stay as it is; leave it out"
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
    """With how many each is, where that is not one.

    >>> _names_for("image")
    'rotate (3), colour (5), patches (3)'
    """
    return ", ".join(
        name if len(family.others) == 1 else f"{name} ({len(family.others)})"
        for name, family in FAMILIES.items()
        if family.kind == kind
    )
