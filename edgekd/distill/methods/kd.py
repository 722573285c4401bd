"""Logit distillation: Hinton, Vinyals & Dean (2015), arXiv:1503.02531."""

from torch import nn

from edgekd.config import SettledRecipe
from edgekd.distill.losses.logits import kd_loss, label_loss
from edgekd.distill.methods.protocol import Batch, Losses, Method
from edgekd.errors import ModelError
from edgekd.teachers.protocol import Capability


class LogitDistillation(Method):
    """``(1 - kd_weight) * label loss + kd_weight * T^2 KL(teacher || student)``."""

    teacher_needs = frozenset[Capability]({"logits"})

    def __init__(self, recipe: SettledRecipe) -> None:
        if recipe.teacher is None:
            raise ModelError("method kd learns from a teacher and none was given: add --teacher")
        self.label_smoothing = recipe.label_smoothing
        self.temperature = recipe.kd.temperature
        self.kd_weight = recipe.kd.kd_weight

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """Soft and hard loss of one forward pass.

        Raises:
            ValueError: If the batch carries no teacher output.
        """
        if batch.teacher is None:
            raise ValueError("the loop gave no teacher output to a method that needs logits")
        logits = module(batch.inputs)
        soft = kd_loss(logits, batch.teacher.logits, temperature=self.temperature)
        hard = label_loss(logits, batch.targets, label_smoothing=self.label_smoothing)
        total = self.kd_weight * soft + (1 - self.kd_weight) * hard
        return Losses(total=total, terms={"kd_loss": soft.detach(), "label_loss": hard.detach()})
