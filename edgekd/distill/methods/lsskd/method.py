"""Layered self-supervised distillation, as a guest in the loop.

Branches after the stages tell class and transformation apart, the deepest teaches the others, and
the labels of all are softened by what the network answered an epoch ago. At the end the branches
are dropped.

Source:
    "Layered Self-Supervised Knowledge Distillation Framework for Efficient Multimodal Learning on
    the Edge", arXiv:2506.07055; what it leaves open is set by :class:`edgekd.config.LsskdRecipe`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgekd.config import SettledRecipe
from edgekd.distill.losses.logits import kd_loss
from edgekd.distill.methods.labels import detached
from edgekd.distill.methods.lsskd.branches import LayeredNetwork, LayeredOutput
from edgekd.distill.methods.lsskd.objective import Objective
from edgekd.distill.methods.lsskd.transforms import Transformations, choose_transformations
from edgekd.distill.methods.probe import plain_answer, zero_inputs
from edgekd.distill.methods.protocol import Batch, Losses, Method, Run
from edgekd.distill.methods.softening.past import Past
from edgekd.distill.methods.softening.soft_labels import (
    Answers,
    class_probabilities,
    joint_probabilities,
)
from edgekd.errors import ModelError
from edgekd.students.at_rest import at_rest
from edgekd.teachers.protocol import Capability


class LayeredSelfDistillation(Method):
    """Branches, joint labels, softening, deep-to-shallow teaching; optionally a teacher."""

    _run: Run
    _past: Past
    _transformations: Transformations

    def __init__(self, recipe: SettledRecipe) -> None:
        self.recipe = recipe
        self.teacher_needs = frozenset[Capability]({"logits"} if recipe.teacher else ())
        self._objective = Objective(recipe=recipe.lsskd, label_smoothing=recipe.label_smoothing)
        self._saved: Mapping[str, Tensor] = {}

    def enter(self, run: Run) -> None:
        """Which inputs there are, and so which transformations.

        Raises:
            ConfigError: If the recipe's do not suit the data.
        """
        self._run = run
        chosen = choose_transformations(self.recipe.lsskd.transformations, run.inputs)
        run.console.info(f"{chosen.count} views of every sample: itself; {chosen.described()}")
        self._transformations = chosen
        ramp, epochs = self.recipe.lsskd.kl_ramp_epochs, self.recipe.epochs
        if self.recipe.lsskd.kl_weight > 0 and ramp > epochs:
            run.console.info(
                f"lsskd.kl_ramp_epochs is {ramp} and the run has {epochs} "
                f"epoch{'s' * (epochs != 1)}: the deep-to-shallow loss reaches "
                f"{epochs / ramp:.0%} of its weight; a shorter ramp: "
                f"--set lsskd.kl_ramp_epochs={epochs // 2 or 1}"
            )

    def attach(self, student: nn.Module) -> nn.Module:
        """The student with its branches.

        Raises:
            ModelError: If it has no stages.
            ConfigError: If the soft labels' table does not fit.
        """
        table, count = self.recipe.lsskd, self._transformations.count
        inputs = zero_inputs(student, self._run)
        classes = plain_answer(student, inputs).shape[1]
        network = LayeredNetwork(
            student,
            inputs,
            num_classes=classes,
            num_transformations=count,
            kind=table.branch,
            num_branches=table.num_branches,
        )
        self._run.console.info(f"{len(network.branches)} branches for training only")
        self._past = Past(
            self.recipe,
            self._run,
            network,
            shape=(count, len(network.branches), classes),
            respond=self._respond,
            saved=self._saved,
        )
        self._saved = {}  # the memory has its own copy, and a table is large
        return network

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """All terms over all views of a batch; with the present answers noted.

        Raises:
            ValueError: If a teacher was asked for and the batch carries none.
        """
        views = self._transformations.all_views(batch.inputs)
        output: LayeredOutput = module(*views)
        hard = self._hard(batch.targets, output)
        targets = self._past.soften(hard, views, batch.indices)
        if self._past.keeps_answers:
            self._past.note(batch.indices, self._worth_keeping(output, hard))
        total, terms = self._objective(output, targets, epoch=self._past.epoch)
        if self.teacher_needs:
            logits = output.logits[: len(batch.targets)]
            terms["kd_loss"] = self._taught(logits, batch)
            total = total + self.recipe.lsskd.teacher_weight * terms["kd_loss"]
        return Losses(total=total, terms=detached(terms))

    def after_step(self, module: nn.Module) -> None:
        """Remember this step's answers."""
        self._past.after_step(module)

    def after_epoch(self, epoch: int) -> None:
        """Lean more on the past."""
        self._past.after_epoch(epoch)

    def finish(self, module: nn.Module) -> nn.Module:
        """The student alone, proven to answer as it does inside the network with all its branches.

        Raises:
            ModelError: If one bit differs; then nothing of it may be deployed.
        """
        if not isinstance(module, LayeredNetwork):
            raise TypeError(f"expected the network with branches, found {type(module).__name__}")
        noise = torch.Generator().manual_seed(0)
        device = next(module.parameters()).device
        shapes = [spec.shape for spec in self._run.inputs]
        inputs = [torch.randn(2, *shape, generator=noise).to(device) for shape in shapes]
        with at_rest(module):
            main, whole = module.answer_all(*inputs).logits, module(*inputs)
        alone = plain_answer(module.student, inputs)
        if not (torch.equal(main, alone) and torch.equal(whole, alone)):
            raise ModelError(
                "the student answers otherwise without its branches, so they take part in what it "
                "answers; nothing was kept: train another student, or this one by method ps-kd"
            )
        return module.student

    def state(self) -> dict[str, Tensor]:
        """The memory of past answers; the branches are part of the trained module."""
        return self._past.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Taken back when the student is attached."""
        self._saved = state

    def _hard(self, targets: Tensor, output: LayeredOutput) -> Answers:
        main = class_probabilities(targets, output.logits.shape[1])
        joint = joint_probabilities(main, self._transformations.count)
        return Answers(main, joint[:, :, None].expand(-1, -1, len(output.joint), -1))

    def _respond(self, network: nn.Module, views: tuple[Tensor, ...]) -> Answers:
        if not isinstance(network, LayeredNetwork):
            raise TypeError(f"expected a network with branches, found {type(network).__name__}")
        return self._answers(network.answer_all(*views))

    def _answers(self, output: LayeredOutput) -> Answers:
        """Probabilities per sample, out of logits that lie view after view."""
        count, temperature = self._transformations.count, self.recipe.soft_labels.temperature
        joint = torch.stack(output.joint, dim=1).detach().float()
        size = len(joint) // count
        main = output.logits[:size].detach().float()
        per_sample = joint.view(count, size, *joint.shape[1:]).transpose(0, 1)
        return Answers(
            torch.softmax(main / temperature, dim=1),
            torch.softmax(per_sample / temperature, dim=-1),
        )

    def _worth_keeping(self, output: LayeredOutput, hard: Answers) -> Answers:
        """The present answers; where a sensor was missing, its branches keep the label instead."""
        answers, rows = self._answers(output), []
        for logits, fed in zip(output.joint, output.present, strict=True):
            rows.append(logits.new_ones(len(logits), dtype=torch.bool) if fed is None else fed)
        present = torch.stack(rows, dim=1).view(self._transformations.count, -1, len(rows))
        joint = torch.where(present.transpose(0, 1)[..., None], answers.joint, hard.joint)
        return answers._replace(joint=joint)

    def _taught(self, logits: Tensor, batch: Batch) -> Tensor:
        if batch.teacher is None:
            raise ValueError("the loop gave no teacher output to a method that needs logits")
        return kd_loss(logits, batch.teacher.logits, temperature=self.recipe.kd.temperature)
