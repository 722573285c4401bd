"""What a recovery leaves behind: weights, learned ranges, and the record of the training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekd.config import ExportRecipe
from edgekd.errors import ConfigError
from edgekd.export.quantization.learned import LearnedRange
from edgekd.export.quantization.recipe import read_int8_recipe
from edgekd.records import Recovery

RECOVERED_FILE: Final = "student.recovered.safetensors"
"""Beside the int8 files: the float weights that they were made from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recovered:
    """A network that was trained to bear 8 bits.

    Attributes:
        weights: File of the prepared network's weights.
        record: Of the training.
        learned: Ranges; empty where a recipe holds them already.
    """

    weights: Path
    record: Recovery
    learned: Sequence[LearnedRange] = ()


def recorded_recovery(recipe: ExportRecipe) -> Recovered | None:
    """What recovered recipes that are to be replayed were made from; ``None`` for other recipes.

    Raises:
        ConfigError: If a recipe cannot be read, or they are not of one export.
    """
    paths = [Path(path) for path in recipe.int8_recipe]
    found = [(path, read_int8_recipe(path).recovery) for path in paths]
    recovered = [(path, record) for path, record in found if record is not None]
    if not recovered:
        return None
    path, record = recovered[-1]
    strange = next((other for other, own in found if own != record), None)
    if strange is not None:
        raise ConfigError(
            f"{strange} and {path}: made from different weights, one of a recovery and one not or "
            "of another; make them again one by one, with --format"
        )
    return Recovered(weights=path.parent / RECOVERED_FILE, record=record)
