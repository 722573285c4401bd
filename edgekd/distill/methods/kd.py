"""Logit distillation: Hinton, Vinyals & Dean (2015), arXiv:1503.02531."""

from torch import nn

from edgekd.config import SettledRecipe
from edgekd.distill.methods.labels import detached
from edgekd.distill.methods.objective import Objective
from edgekd.distill.methods.protocol import Batch, Losses, Method
from edgekd.errors import ModelError
from edgekd.teachers.protocol import Capability


class LogitDistillation(Method):
    """``(1 - kd_weight) * label loss + kd_weight * T^2 KL(teacher || student)``."""

    teacher_needs = frozenset[Capability]({"logits"})

    def __init__(self, recipe: SettledRecipe) -> None:
        if recipe.teacher is None:
            raise ModelError("method kd learns from a teacher and none was given: add --teacher")
        self._objective = Objective(recipe)

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """Soft and hard loss of one forward pass.

        Raises:
            ValueError: If the batch carries no teacher output.
        """
        if batch.teacher is None:
            raise ValueError("the loop gave no teacher output to a method that needs logits")
        output = module(*batch.inputs)
        total, terms = self._objective(output, batch.targets, batch.teacher.logits)
        return Losses(total=total, terms=detached(terms))
