"""The table of methods. To add one: its file, a line here, its test and its recipe."""

from collections.abc import Callable
from typing import Final

from edgekd.config import MethodName, SettledRecipe
from edgekd.distill.methods.cdd import CapacityDynamicDistillation
from edgekd.distill.methods.embedding_kd import EmbeddingDistillation
from edgekd.distill.methods.kd import LogitDistillation
from edgekd.distill.methods.lsskd import LayeredSelfDistillation
from edgekd.distill.methods.none import LabelsOnly
from edgekd.distill.methods.protocol import Method
from edgekd.distill.methods.ps_kd import ProgressiveSelfDistillation
from edgekd.distill.methods.quantization_aware import QuantizationAware
from edgekd.records import Task

_DISTILLATION: Final[dict[Task, Callable[[SettledRecipe], Method]]] = {
    "classification": LogitDistillation,
    "retrieval": EmbeddingDistillation,
}
"""What ``kd`` is for each task."""

METHODS: Final[dict[MethodName, Callable[[SettledRecipe], Method]]] = {
    "none": LabelsOnly,
    "kd": lambda recipe: _DISTILLATION[recipe.task](recipe),
    "cdd": CapacityDynamicDistillation,
    "ps-kd": ProgressiveSelfDistillation,
    "lsskd": LayeredSelfDistillation,
}


def make_method(recipe: SettledRecipe) -> Method:
    """The method a recipe names, with the rounding of 8 bits around it where the recipe says so.

    Raises:
        ModelError: If the method needs a teacher and the recipe has none.
    """
    method = METHODS[recipe.method](recipe)
    return QuantizationAware(recipe, method) if recipe.qat else method
