"""PS-KD: a network learns from labels softened by its own earlier answers; no teacher, no branch.

The baseline of layered self-distillation, and its softening alone.

Source:
    Kim et al. (2021), "Self-Knowledge Distillation with Progressive Refinement of Targets",
    ICCV 2021, arXiv:2006.12000.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgekd.config import SettledRecipe
from edgekd.distill.losses.logits import label_loss
from edgekd.distill.methods.probe import plain_answer, zero_inputs
from edgekd.distill.methods.protocol import Batch, Losses, Method, Run
from edgekd.distill.methods.softening.past import Past
from edgekd.distill.methods.softening.soft_labels import Answers, class_probabilities
from edgekd.errors import ModelError


class ProgressiveSelfDistillation(Method):
    """Cross-entropy with ``(1 - alpha) * label + alpha * past answer``."""

    _run: Run
    _past: Past

    def __init__(self, recipe: SettledRecipe) -> None:
        if recipe.teacher is not None:
            raise ModelError(
                "method ps-kd learns from its own past; remove --teacher, or choose kd or lsskd"
            )
        self.recipe = recipe
        self._saved: Mapping[str, Tensor] = {}

    def enter(self, run: Run) -> None:
        """How many samples there are to remember."""
        self._run = run

    def attach(self, student: nn.Module) -> nn.Module:
        """The student as it is, with a memory beside it."""
        classes = plain_answer(student, zero_inputs(student, self._run)).shape[1]
        self._past = Past(
            self.recipe,
            self._run,
            student,
            shape=(1, 0, classes),
            respond=self._respond,
            saved=self._saved,
        )
        self._saved = {}  # the memory has its own copy, and a table is large
        return student

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """The softened labels' loss; with the present answers noted."""
        logits = module(*batch.inputs)
        main = class_probabilities(batch.targets, logits.shape[1])
        hard = Answers(main, _no_branches(main))
        targets = self._past.soften(hard, batch.inputs, batch.indices)
        if self._past.keeps_answers:
            self._past.note(batch.indices, self._answers(logits))
        loss = label_loss(logits, targets.main, label_smoothing=self.recipe.label_smoothing)
        return Losses(total=loss, terms={"label_loss": loss.detach()})

    def after_step(self, module: nn.Module) -> None:
        """Remember this step's answers."""
        self._past.after_step(module)

    def after_epoch(self, epoch: int) -> None:
        """Lean more on the past."""
        self._past.after_epoch(epoch)

    def state(self) -> dict[str, Tensor]:
        """The memory."""
        return self._past.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Taken back when the student is attached."""
        self._saved = state

    def _respond(self, network: nn.Module, inputs: tuple[Tensor, ...]) -> Answers:
        return self._answers(network(*inputs))

    def _answers(self, logits: Tensor) -> Answers:
        temperature = self.recipe.soft_labels.temperature
        main = torch.softmax(logits.detach().float() / temperature, dim=1)
        return Answers(main, _no_branches(main))


def _no_branches(main: Tensor) -> Tensor:
    return main.new_zeros(len(main), 1, 0, main.shape[1])
