"""What a search decides about: the operators of a graph and the ways each can compute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekd.export.quantization.recipe import Choice

Choices = Mapping[str, Choice]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One operator that can compute in more than one way.

    Attributes:
        name: Unique in its graph.
        kind: Operators of one kind are expected to gain or lose together: the type, and for a
            product also its form (``Conv depthwise``, ``Conv pointwise``).
        choices: What its runtime has kernels for; the last is how it computes in float.
        num_weights: How many values its weights have.
    """

    name: str
    kind: str
    choices: tuple[Choice, ...]
    num_weights: int = 0

    def can(self, choice: Choice | None) -> bool:
        """Whether it can compute so; in float, from weights in float, everything can."""
        return choice == "float" or choice in self.choices

    @property
    def as_float(self) -> Choice:
        """``weights`` where it has some, else ``float``."""
        return self.choices[-1]

    @property
    def is_product(self) -> bool:
        """Whether it has weights of its own."""
        return self.as_float == "weights"


def prefer(units: Sequence[Unit], *wanted: Choice, products_only: bool = False) -> Choices:
    """Every unit's first choice of ``wanted`` that it has, else float.

    >>> unit = Unit(name="conv", kind="Conv", choices=("static", "weights"))
    >>> prefer([unit], "dynamic", "static"), prefer([unit], "dynamic")
    ({'conv': 'static'}, {'conv': 'weights'})
    """
    return {
        unit.name: next(
            (c for c in wanted if c in unit.choices and (unit.is_product or not products_only)),
            unit.as_float,
        )
        for unit in units
    }
