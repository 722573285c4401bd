"""What a search tries: where it starts, and which groups of operators it changes."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from edgekd.export.quantization.units import Choices, Unit, prefer

Move = tuple[str, Choices]
"""Why, for people, and the choices of all units."""

_CHEAP: Final = frozenset(
    {
        "ADD", "MUL", "AVERAGE_POOL_2D", "CONCATENATION", "MEAN", "LOGISTIC",
        "Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Sigmoid", "HardSwish",
        "HardSigmoid",
    }
)  # fmt: skip
"""Kinds that usually keep up in int8: only a place to start from."""
_FURTHER: Final = (0, 1, 2, 4, 6)


def starting_points(units: Sequence[Unit], stored: Choices) -> list[Move]:
    """What tool chains and habit suggest; the safest, ``stored``, first."""
    cheap = {unit.name for unit in units if unit.is_product or unit.kind.split()[0] in _CHEAP}
    static = prefer(units, "static")
    return [
        ("weights in 8 bits", stored),
        ("all static", static),
        ("products static", prefer(units, "static", products_only=True)),
        ("products and sums static", {**stored, **{name: static[name] for name in cheap}}),
        ("products dynamic", prefer(units, "dynamic", products_only=True)),
        ("products dynamic or static", prefer(units, "dynamic", "static", products_only=True)),
    ]


def by_kind(units: Sequence[Unit], now: Choices) -> Iterator[Move]:
    """All units of one kind changed to each way they can compute."""
    for kind in dict.fromkeys(unit.kind for unit in units):
        group = [unit for unit in units if unit.kind == kind]
        for choice in dict.fromkeys(choice for unit in group for choice in unit.choices):
            moved = {unit.name: choice for unit in group if choice in unit.choices}
            yield from _if_new(f"{kind} {choice}", moved, now)


def by_stretch(
    units: Sequence[Unit], pieces: int, now: Choices, palette: Sequence[Move]
) -> Iterator[Move]:
    """One stretch of the network changed to what each recipe of a palette does there."""
    for number, stretch in enumerate(cut(units, pieces), start=1):
        for label, choices in palette:
            moved = {unit.name: choices[unit.name] for unit in stretch}
            yield from _if_new(f"part {number}/{pieces}: {label}", moved, now)


def by_noise(
    fast: Move, stored: Choices, noise: Mapping[tuple[str, ...], float], limit: float
) -> Iterator[Move]:
    """A fast recipe without the stretches that disturb the answer most.

    As many go as their noise alone asks for, and then some more: together they are louder than
    their sum.

    Args:
        fast: Too noisy as it is.
        stored: The quiet choices to fall back to.
        noise: Names of a stretch's units to its noise power over the signal's.
        limit: Noise power that is allowed.
    """
    label, choices = fast
    loudest = sorted(noise, key=lambda names: -noise[names])
    left = [sum(noise[names] for names in loudest[count:]) for count in range(len(loudest))]
    needed = max(1, sum(power > limit for power in left))
    for count in dict.fromkeys(min(needed + more, len(loudest)) for more in _FURTHER):
        names = {name for stretch in loudest[:count] for name in stretch}
        quiet = {name: stored[name] if name in names else c for name, c in choices.items()}
        yield f"{label} but the loudest {count} of {len(loudest)}", quiet


def cut(units: Sequence[Unit], pieces: int) -> list[Sequence[Unit]]:
    """The units in at most ``pieces`` stretches of about equal length, in order of execution."""
    edges = [round(i * len(units) / pieces) for i in range(pieces + 1)]
    return [units[a:b] for a, b in pairwise(edges) if a < b]


def _if_new(label: str, moved: Choices, now: Choices) -> Iterator[Move]:
    if any(now[name] != choice for name, choice in moved.items()):
        yield label, {**now, **moved}
