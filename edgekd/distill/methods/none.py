"""Labels only: the baseline that every comparison needs."""

from collections.abc import Mapping

from torch import Tensor, nn

from edgekd.config import TrainRecipe
from edgekd.distill.losses.logits import label_loss
from edgekd.distill.methods.protocol import Batch, Losses
from edgekd.teachers.protocol import Capability


class LabelsOnly:
    """Cross-entropy with the labels. Other methods without training-only state build on it."""

    teacher_needs: frozenset[Capability] = frozenset()

    def __init__(self, recipe: TrainRecipe) -> None:
        self.label_smoothing = recipe.label_smoothing

    def attach(self, student: nn.Module) -> nn.Module:
        """Nothing is added."""
        return student

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """Label loss of the student's logits."""
        loss = label_loss(module(batch.inputs), batch.targets, label_smoothing=self.label_smoothing)
        return Losses(total=loss, terms={"label_loss": loss.detach()})

    def after_backward(self, module: nn.Module) -> None:
        """Gradients stay as they are."""

    def after_epoch(self, epoch: int) -> None:
        """There is no state."""

    def finish(self, module: nn.Module) -> nn.Module:
        """Nothing was added."""
        return module

    def state(self) -> dict[str, Tensor]:
        """There is no state."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """There is no state."""
