"""Capacity Dynamic Distillation, as a guest in the loop.

Phase 1 trains with the task's losses, distillation and a group lasso on the indicators. Phase 2
takes the task gradient away from the rows of channels that retrieval does without and pulls them
to zero. What is left at the end is merged into plain convolutions.

Source:
    "Towards a Smaller Student: Capacity Dynamic Distillation for Efficient Image Retrieval",
    CVPR 2023, pp. 16006-16015, doi:10.1109/CVPR52729.2023.01536.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.config import SettledRecipe
from edgekd.distill.losses.features import feature_fit_loss
from edgekd.distill.methods.cdd.channels import Channels
from edgekd.distill.methods.cdd.compression import Compression, Pooled, load_channels
from edgekd.distill.methods.cdd.costs import deployed_costs
from edgekd.distill.methods.cdd.finish import all_stayed, merge_indicators, require_mergeable
from edgekd.distill.methods.cdd.indicator import (
    IndicatedNorm,
    compression_loss,
    indicated_at,
    indicated_norms,
    insert_indicators,
    pulled_parameters,
)
from edgekd.distill.methods.cdd.narrow import narrow, narrow_to
from edgekd.distill.methods.cdd.pace import Pace
from edgekd.distill.methods.cdd.pull import Pull
from edgekd.distill.methods.cdd.requirements import require_trainable
from edgekd.distill.methods.cdd.schedule import Schedule
from edgekd.distill.methods.cdd.target import make_target
from edgekd.distill.methods.gather import broadcast_buffers
from edgekd.distill.methods.labels import class_indices, detached
from edgekd.distill.methods.objective import Objective
from edgekd.distill.methods.protocol import Batch, Losses, Method, Run
from edgekd.errors import ModelError
from edgekd.records import ArchSpec
from edgekd.students.blocks import before_activation, require_sites, site_widths
from edgekd.teachers.protocol import Capability


class CapacityDynamicDistillation(Method):
    """Distillation into a student that loses channels; see the package's modules for the parts."""

    teacher_needs = frozenset[Capability]({"logits", "pooled"})

    def __init__(self, recipe: SettledRecipe) -> None:
        require_trainable(recipe)
        self._recipe = recipe
        self._objective = Objective(recipe)
        self._teacher_widths: tuple[int, ...] | None = None
        self._loaded: Mapping[str, Tensor] = {}
        self._pooled: Pooled | None = None
        self._step = 0
        self._pace = Pace()

    def enter(self, run: Run) -> None:
        """Take the schedule from the run."""
        self._run = run
        self._schedule = Schedule(self._recipe, run.steps_per_epoch)

    def teacher_layers(self, teacher: nn.Module) -> Sequence[nn.Module]:
        """The teacher's BatchNorms at the places of the student's indicators.

        Raises:
            ModelError: If the teacher has no such places.
        """
        sites = require_sites(teacher, purpose="compare with a student's blocks")
        self._teacher_widths = site_widths(teacher, sites)
        return [before_activation(teacher.get_submodule(site.norm)) for site in sites]

    def attach(self, student: nn.Module) -> nn.Module:
        """The student with an indicator in every block.

        Raises:
            ModelError: If it has no block that can shrink, differs from the teacher, or cannot
                reach the target.
        """
        self._sites = require_sites(student, purpose="shrink")
        widths = site_widths(student, self._sites)
        if widths != self._teacher_widths:
            raise ModelError(
                f"cdd compares student and teacher block by block, and their inner channels differ "
                f"({list(widths)} and {list(self._teacher_widths or ())}); give a teacher of the "
                "student's own architecture, or use method kd"
            )
        require_mergeable(student, self._sites, self._run.input_shape)
        self._costs = deployed_costs(student, self._run.input_shape)
        self._target = make_target(self._recipe.cdd, self._costs, widths)
        pull = Pull(
            self._recipe.cdd.compression,
            self._schedule.rate,
            momentum=self._schedule.momentum,
            steps=(self._schedule.first_masked, self._schedule.num_steps),
            deadline=self._target is not None,
        )
        fresh = [Channels.all_of(width) for width in widths]
        self._compression = Compression(
            self._recipe.cdd,
            load_channels(self._loaded) if self._loaded else fresh,
            class_neighbours=self._recipe.task == "classification",
            pull=pull,
            target=self._target,
        )
        insert_indicators(student, self._sites)
        if self._loaded:
            self._compression.load_queue(self._loaded)
            narrow_to(student, self._sites, [c.numbers for c in self._compression.channels])
            self._loaded = {}
        self._student = student
        return student

    def parameter_groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """What is pulled, at one pace: no weight decay, which would shrink what stays too."""
        return [
            {
                "params": pulled_parameters(module, self._sites),
                "weight_decay": 0.0,
                "momentum": self._schedule.momentum,
                "lr_scale": self._recipe.cdd.indicator_lr_scale,
            }
        ]

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """Labels, softened logits, pooled maps block by block and, in phase 1, the lasso.

        Raises:
            ValueError: If the batch carries no teacher output.
        """
        if batch.teacher is None:
            raise ValueError("the loop gave no teacher output to a method that needs it")
        parts = indicated_norms(module)
        total, terms = self._objective(module(*batch.inputs), batch.targets, batch.teacher.logits)
        taken = [part.take_pooled() for part in parts]
        teacher = [pooled.float() for pooled in batch.teacher.pooled]
        terms["fit_loss"] = feature_fit_loss(teacher, [before for before, _ in taken])
        terms["compression_loss"] = compression_loss(parts)
        total = total + self._recipe.cdd.fit_weight * terms["fit_loss"]
        if not self._schedule.has_masks(self._step):
            total = total + self._recipe.cdd.compression * terms["compression_loss"]
        # Only a step that is really taken may change masks: after_backward looks at this.
        self._pooled = Pooled(
            teacher=teacher, student=[a for _, a in taken], labels=class_indices(batch.targets)
        )
        return Losses(total=total, terms=detached(terms))

    def after_backward(self, module: nn.Module) -> None:
        """In phase 2, update the masks and replace the gradients of the indicators."""
        pooled, self._pooled = self._pooled, None
        if self._schedule.has_masks(self._step) and pooled is not None:
            self._compression.step(
                self._parts(module),
                self._followers(module),
                pooled,
                step=self._step,
                progress=self._schedule.progress(self._step),
            )
        self._step += 1

    def after_step(self, module: nn.Module) -> None:
        """Keep dead channels at zero: their momentum is not over yet."""
        self._compression.clear_dead(self._parts(module), self._followers(module))

    def reshape(
        self, module: nn.Module, average: nn.Module | None, optimizer: torch.optim.Optimizer
    ) -> bool:
        """Remove dead channels, where the recipe wants them gone at once."""
        if not self._recipe.cdd.shrink_while_training:
            return False
        for network in (module,) if average is None else (module, average):
            broadcast_buffers(network)
        # Of a run that was resumed after the last step of an epoch they are still on the CPU.
        self._compression.to(next(module.parameters()).device)
        has_changed = False
        for site, channels, kept in zip(
            self._sites, self._compression.channels, self._compression.living(), strict=True
        ):
            if len(kept) == len(channels.numbers):
                continue
            narrow(module, site, kept, optimizer)
            if average is not None:
                narrow(average, site, kept)
            channels.keep(kept)
            has_changed = True
        return has_changed

    def progress(self, module: nn.Module, seconds: float) -> Mapping[str, float]:
        """Channels left per block, the cost they stand for, and the time saved so far."""
        kept = [len(positions) for positions in self._survivors(module)]
        row = {f"kept/{site.block}": float(n) for site, n in zip(self._sites, kept, strict=True)}
        for unit, costs in self._costs.items():
            row[f"{unit}_share"] = costs.of(kept) / costs.full
        if self._recipe.cdd.shrink_while_training:
            is_smaller = any(channels.num_removed for channels in self._compression.channels)
            row["seconds_saved"] = self._pace.add(seconds, is_smaller=is_smaller)
        return row

    def finish(self, module: nn.Module) -> nn.Module:
        """The student with plain, narrow convolutions: no BatchNorm or indicator where one was.

        Raises:
            ModelError: If it does not answer as before.
        """
        survivors = self._survivors(self._student)  # an average lags behind it
        merge_indicators(module, self._sites, survivors, self._run.input_shape)
        self._widths = site_widths(module, self._sites)
        return module

    def finished_arch(self, arch: ArchSpec) -> ArchSpec:
        """``arch`` with the widths that are left."""
        return arch.model_copy(update={"widths": self._widths, "merged": True})

    def notes(self) -> tuple[str, ...]:
        """What was missed of the targets; without one, whether nothing went."""
        if self._target is not None:
            return self._target.misses(self._widths)
        if self._widths != self._teacher_widths:  # which were the student's own at the start
            return ()
        return (all_stayed(self._recipe.cdd, self._compression.channels),)

    def state(self) -> dict[str, Tensor]:
        """Step, pace, masks, scores and queue."""
        own = {"step": torch.tensor(self._step), "pace": self._pace.state()}
        return own | self._compression.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state` gave; the rest follows in :meth:`attach`."""
        self._loaded = state
        self._step = int(state["step"])
        self._pace = Pace.of(state["pace"])

    def _parts(self, module: nn.Module) -> list[IndicatedNorm]:
        return [indicated_at(module, site) for site in self._sites]

    def _followers(self, module: nn.Module) -> list[nn.Module | None]:
        return [site.follower(module) for site in self._sites]

    def _survivors(self, module: nn.Module) -> list[Tensor]:
        return self._compression.survivors(self._parts(module), self._followers(module))
