"""The table of methods. To add one: its file, a line here, its test and its recipe."""

from collections.abc import Callable
from typing import Final

from edgekd.config import MethodName, TrainRecipe
from edgekd.distill.methods.kd import LogitDistillation
from edgekd.distill.methods.none import LabelsOnly
from edgekd.distill.methods.protocol import Method

METHODS: Final[dict[MethodName, Callable[[TrainRecipe], Method]]] = {
    "none": LabelsOnly,
    "kd": LogitDistillation,
}


def make_method(recipe: TrainRecipe) -> Method:
    """The method a recipe names.

    Raises:
        ModelError: If the method needs a teacher and the recipe has none.
    """
    return METHODS[recipe.method](recipe)
