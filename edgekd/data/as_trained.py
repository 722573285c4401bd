"""Data split as a training split them, for whatever comes after it.

What calibrates must have been trained on and what judges must not: so the split of a training,
which its recorded recipe says, holds until the user says how else.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from edgekd.config import DataRecipe
from edgekd.console import Console
from edgekd.errors import BundleError, DataError
from edgekd.records import InputSpec, SignalInput

_FIELDS: Final = (
    "split",
    "val_fraction",
    "train_folder",
    "test_folder",
    "group",
    "test_groups",
    "val_groups",
)

_WITH_COLUMNS: Final = (".csv", ".npz")

R = TypeVar("R", bound=DataRecipe)


def require_windows(recipe: DataRecipe, inputs: Iterable[InputSpec]) -> None:
    """Refuse images for a network of sensors, before they are split or read.

    Raises:
        DataError: If the data cannot hold windows and an input is one.
    """
    sensors = [spec.name for spec in inputs if isinstance(spec, SignalInput)]
    if recipe.data is not None and sensors and not recipe.data.lower().endswith(".npz"):
        raise DataError(
            f"{recipe.data}: holds images, the network takes windows of {', '.join(sensors)}; give "
            "the .npz that it was trained on"
        )


def split_as_trained(recipe: R, trainings: Iterable[Mapping[str, Any]], console: Console) -> R:
    """The recipe with the split of a training, where it says nothing about splits itself.

    One field that was given, and the whole split is as given: other data may have no such groups
    or folders.

    Args:
        recipe: Of what comes after a training.
        trainings: Recipes, as bundles and exported files record them. Where they split their data
            in several ways, none is followed.
        console: Hears what is followed.

    Raises:
        BundleError: If a recorded split cannot be one.
        DataError: If the data cannot be split by the groups of the training.
    """
    if recipe.data is None or recipe.model_fields_set & set(_FIELDS):
        return recipe
    found = [split for training in trainings if (split := _recorded_split(training))]
    if not found or any(split != found[0] for split in found):
        return recipe
    group = found[0]["group"]
    if group is not None and not recipe.data.lower().endswith(_WITH_COLUMNS):
        raise DataError(
            f"{recipe.data}: images without columns, and the training split its data by {group!r}; "
            "give the data that it was trained on, or say with --split how to split these"
        )
    changes = {name: value for name, value in found[0].items() if value != getattr(recipe, name)}
    if not changes:
        return recipe
    flags = " ".join(_as_flag(name, value) for name, value in changes.items())
    console.info(f"{recipe.data}: split as in training, {flags} (give a flag for another split)")
    return recipe.model_copy(update=changes)


def _recorded_split(training: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of the split; nothing where the recipe is of no training."""
    recorded = {name: training[name] for name in _FIELDS if name in training}
    if not recorded:
        return {}
    try:
        split = DataRecipe.model_validate({"data": "", **recorded})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "its split"
        raise BundleError(
            f"the recorded recipe of the training is damaged ({where}: {first['msg']}); train again"
        ) from error
    return {name: getattr(split, name) for name in _FIELDS}


def _as_flag(name: str, value: Any) -> str:
    """As a user would type it."""
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"--{name.replace('_', '-')} {text if text.isprintable() else repr(text)}"
