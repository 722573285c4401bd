"""A student with 8-bit rounding inside learns to answer as it did without.

Not in the table of methods: what it trains is made by an export, not by a recipe's student.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn

from edgekd.config import SettledRecipe
from edgekd.distill.losses.features import feature_fit_loss
from edgekd.distill.losses.logits import kd_loss, label_loss
from edgekd.distill.methods.protocol import Batch, Losses, Method, Run
from edgekd.errors import ModelError
from edgekd.records import Task
from edgekd.students.quantized import FakeQuantized

_RANGES_LR_SCALE: Final = 10.0  # ranges are relative numbers around 1; weights are often smaller


class QuantizationRecovery(Method):
    """Logit distillation from the fp32 student, or from the loop's teacher where there is one.

    For retrieval the student learns its fp32 embedding, without labels: the classifier that the
    labels need is not part of what is exported.

    Args:
        recipe: Its ``kd`` table.
        student: In fp32 and eval mode; it is not trained.
        task: What the student is for.
    """

    def __init__(self, recipe: SettledRecipe, student: nn.Module, *, task: Task) -> None:
        self.temperature, self.kd_weight = recipe.kd.temperature, recipe.kd.kd_weight
        self.label_smoothing = recipe.label_smoothing
        self._student, self._task = student, task

    def enter(self, run: Run) -> None:
        """Let the fp32 student answer where the batches are."""
        self._student = self._student.to(run.device)

    def parameter_groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """Ranges have no weight decay, and a rate of their own."""
        ranges = _rounding(module).stretch
        return [{"params": [ranges], "weight_decay": 0.0, "lr_scale": _RANGES_LR_SCALE}]

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """What rounding changes in the answers, and for classification the labels' share."""
        found, taught = module(*batch.inputs), self._taught(batch)
        if self._task == "retrieval":
            distance = feature_fit_loss([taught], [found])
            return Losses(total=distance, terms={"fit_loss": distance.detach()})
        soft = kd_loss(found, taught, temperature=self.temperature)
        hard = label_loss(found, batch.targets, label_smoothing=self.label_smoothing)
        total = self.kd_weight * soft + (1 - self.kd_weight) * hard
        return Losses(total=total, terms={"kd_loss": soft.detach(), "label_loss": hard.detach()})

    def after_step(self, module: nn.Module) -> None:
        """Keep every range wide enough to be one."""
        _rounding(module).limit_ranges()

    @torch.no_grad()
    def _taught(self, batch: Batch) -> Tensor:
        if batch.teacher is None:
            answer: Tensor = self._student(*batch.inputs)
            return answer
        if self._task == "classification":
            return batch.teacher.logits
        if batch.teacher.embedding is None:
            raise ModelError("the teacher gives no embedding; leave it out: the student teaches")
        return batch.teacher.embedding


def _rounding(module: nn.Module) -> FakeQuantized:
    if not isinstance(module, FakeQuantized):
        raise TypeError(f"expected a FakeQuantized network, found {type(module).__name__}")
    return module
