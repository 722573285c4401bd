"""A method's own past: which memory it has, what it will keep, and in which epoch it stands."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgekd.config import SettledRecipe
from edgekd.distill.methods.protocol import Run
from edgekd.distill.methods.softening.memories import Memory, Respond, make_memory
from edgekd.distill.methods.softening.soft_labels import Answers, soften, softening_weight


class Past:
    """What a run remembers of itself.

    Args:
        recipe: Its soft labels and epochs.
        run: The run.
        module: What is trained, not wrapped.
        shape: ``(M, L, K)``.
        respond: How a past network is asked.
        saved: What :meth:`state` gave in an interrupted run.

    Raises:
        ConfigError: If the table asked for does not fit.
    """

    def __init__(
        self,
        recipe: SettledRecipe,
        run: Run,
        module: nn.Module,
        *,
        shape: tuple[int, int, int],
        respond: Respond,
        saved: Mapping[str, Tensor],
    ) -> None:
        self._recipe = recipe
        self._module = module
        self.epoch = int(saved["epoch"]) if saved else 0
        self._pending: tuple[Tensor, Answers] | None = None
        self._memory: Memory | None = None
        if recipe.soft_labels.weight > 0:
            self._memory = make_memory(
                recipe.soft_labels,
                num_samples=run.num_samples,
                shape=shape,
                respond=respond,
                device=run.device,
                console=run.console,
            )
            if saved:
                self._memory.load_state(saved, module)

    def soften(self, hard: Answers, inputs: tuple[Tensor, ...], indices: Tensor) -> Answers:
        """Labels mixed with the past answers to the same samples, where there are any.

        Args:
            hard: The labels alone.
            inputs: What the module is asked in this step.
            indices: ``(B,)`` positions in the training split.
        """
        recalled = None if self._memory is None else self._memory.recall(inputs, indices)
        if recalled is None:
            return hard
        weight = softening_weight(self._recipe.soft_labels, self.epoch, self._recipe.epochs)
        return Answers(
            soften(hard.main, recalled.answers.main, recalled.known, weight),
            soften(hard.joint, recalled.answers.joint, recalled.known, weight),
        )

    @property
    def keeps_answers(self) -> bool:
        """Whether :meth:`note` is of use: past weights, or no memory, need no answers."""
        return self._memory is not None and self._memory.keeps_answers

    def note(self, indices: Tensor, answers: Answers) -> None:
        """What was answered in this step; kept once the step is taken, so not by a trial."""
        if self.keeps_answers:
            self._pending = (indices, Answers(*(part.detach() for part in answers)))

    def after_step(self, module: nn.Module) -> None:
        """Keep what was noted."""
        if self._memory is None:
            return
        if self._pending is not None:
            self._memory.keep(*self._pending)
            self._pending = None
        self._memory.after_step(module)

    def after_epoch(self, epoch: int) -> None:
        """The present becomes the past."""
        self.epoch = epoch + 1
        if self._memory is not None:
            self._memory.after_epoch(self._module)

    def state(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint; a collective where there are several processes."""
        memory = {} if self._memory is None else self._memory.state()
        return {"epoch": torch.tensor(self.epoch), **memory}
