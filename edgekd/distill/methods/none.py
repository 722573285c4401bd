"""Labels only: the baseline that every comparison needs."""

from torch import nn

from edgekd.config import TrainRecipe
from edgekd.distill.losses.logits import label_loss
from edgekd.distill.methods.protocol import Batch, Losses, Method


class LabelsOnly(Method):
    """Cross-entropy with the labels."""

    def __init__(self, recipe: TrainRecipe) -> None:
        self.label_smoothing = recipe.label_smoothing

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """Label loss of the student's logits."""
        loss = label_loss(module(batch.inputs), batch.targets, label_smoothing=self.label_smoothing)
        return Losses(total=loss, terms={"label_loss": loss.detach()})
