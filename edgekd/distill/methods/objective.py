"""What methods with a teacher have in common: labels and the teacher's answers, per task."""

import torch
from torch import Tensor

from edgekd.config import SettledRecipe
from edgekd.distill.losses.logits import kd_loss
from edgekd.distill.methods.labels import label_losses
from edgekd.students.head import EmbeddingOutput


class Objective:
    """Label losses and the softened KL divergence, weighed as the recipe says for its task.

    Args:
        recipe: For retrieval ``retrieval`` says weight and temperature, and labels have weight 1;
            for classification ``kd`` does, and labels have the rest of the weight.
    """

    def __init__(self, recipe: SettledRecipe) -> None:
        self._recipe = recipe
        if recipe.task == "retrieval":
            self._label_weight = 1.0
            self._soft_weight = recipe.retrieval.kl_weight
            self._temperature = recipe.retrieval.temperature
        else:
            self._label_weight = 1 - recipe.kd.kd_weight
            self._soft_weight = recipe.kd.kd_weight
            self._temperature = recipe.kd.temperature

    def __call__(
        self, output: Tensor | EmbeddingOutput, targets: Tensor, teacher_logits: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighed sum, ``()``, and the terms by name, without their weights.

        Args:
            output: What the trained module answered.
            targets: ``(B,)`` class indices, or ``(B, K)`` probabilities.
            teacher_logits: ``(B, K)``.
        """
        logits = output.logits if isinstance(output, EmbeddingOutput) else output
        terms = label_losses(output, targets, self._recipe)
        labels = torch.stack(list(terms.values())).sum()
        soft = kd_loss(logits, teacher_logits, temperature=self._temperature)
        return self._label_weight * labels + self._soft_weight * soft, terms | {"kd_loss": soft}
