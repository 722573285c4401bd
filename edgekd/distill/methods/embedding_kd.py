"""Distillation of an embedding network: its identity logits and its pooled features.

The loss is the retrieval loss of Capacity Dynamic Distillation (CVPR 2023, arXiv:2303.09230)
without anything that prunes: labels, ``kl_weight`` times the softened KL divergence of the identity
logits, and ``fit_weight`` times the distance of the pooled features of every stage.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from edgekd.config import SettledRecipe
from edgekd.distill.losses.features import feature_fit_loss
from edgekd.distill.methods.labels import detached
from edgekd.distill.methods.objective import Objective
from edgekd.distill.methods.protocol import Batch, Losses, Method
from edgekd.errors import ModelError
from edgekd.students.taps import pooled_outputs, stage_layers
from edgekd.teachers.protocol import Capability


class EmbeddingDistillation(Method):
    """Label losses + ``kl_weight * KL`` + ``fit_weight * feature distance``.

    Stages are paired from the last one backwards, and a pair takes part where both are as wide: a
    student of the teacher's widths learns all of them, a narrower one none, and then the history
    has no ``fit_loss``.
    """

    def __init__(self, recipe: SettledRecipe) -> None:
        if recipe.teacher is None:
            raise ModelError("method kd learns from a teacher and none was given: add --teacher")
        self._objective = Objective(recipe)
        self._fit_weight = recipe.retrieval.fit_weight
        needs: set[Capability] = {"logits"}
        if self._fit_weight > 0:
            needs.add("pooled")
        self.teacher_needs = frozenset(needs)

    def teacher_layers(self, teacher: nn.Module) -> Sequence[nn.Module]:
        """The ends of the teacher's stages."""
        return stage_layers(teacher)

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """All terms of one forward pass; the history keeps them without their weights.

        Raises:
            ValueError: If the batch carries no teacher output.
        """
        if batch.teacher is None:
            raise ValueError("the loop gave no teacher output to a method that needs one")
        layers = stage_layers(module) if self._fit_weight > 0 else ()
        with pooled_outputs(layers) as pooled:
            output = module(*batch.inputs)
        total, terms = self._objective(output, batch.targets, batch.teacher.logits)
        pairs = matching_pairs(batch.teacher.pooled, pooled)
        if pairs:
            terms["fit_loss"] = feature_fit_loss(*zip(*pairs, strict=True))
            total = total + self._fit_weight * terms["fit_loss"]
        return Losses(total=total, terms=detached(terms))


def matching_pairs(
    teacher: Sequence[Tensor], student: Sequence[Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Pooled features of both, stage by stage from the last backwards, where widths agree."""
    pairs = zip(reversed(teacher), reversed(student), strict=False)
    return [(t, s) for t, s in pairs if t.shape == s.shape]
