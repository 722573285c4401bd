"""Labels only: the baseline that every comparison needs."""

import torch
from torch import nn

from edgekd.config import SettledRecipe
from edgekd.distill.methods.labels import detached, label_losses
from edgekd.distill.methods.protocol import Batch, Losses, Method


class LabelsOnly(Method):
    """Cross-entropy with the labels; for an embedding network also the triplet loss."""

    def __init__(self, recipe: SettledRecipe) -> None:
        self.recipe = recipe

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """The label losses of the student's answer."""
        losses = label_losses(module(batch.inputs), batch.targets, self.recipe)
        return Losses(total=torch.stack(list(losses.values())).sum(), terms=detached(losses))
