"""Quantization-aware training: another method's guest, with the rounding of 8 bits around it.

The first epochs train in float, and every range follows what they see. Then the network rounds as
an int8 file does, and learns weights and ranges that bear it. What is left is the plain student and
its ranges, which an export puts into its files.

Source:
    Jacob et al. (2018), arXiv:1712.05877, section 3: rounding begins when training has settled.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from edgekd.config import SettledRecipe
from edgekd.distill.methods.protocol import Batch, Losses, Method, Run
from edgekd.students.quantized import FakeQuantized


class QuantizationAware(Method):
    """Rounds inside what another method trains; of methods that add nothing to the student.

    Args:
        recipe: Its epochs and ``qat_from``.
        inner: Whose losses are minimised.
    """

    def __init__(self, recipe: SettledRecipe, inner: Method) -> None:
        self._inner = inner
        self.teacher_needs = inner.teacher_needs
        share = round(recipe.qat_from * recipe.epochs)
        self._first_epoch = min(max(1, share), recipe.epochs - 1)
        self._run: Run | None = None
        self._module: FakeQuantized | None = None

    def enter(self, run: Run) -> None:
        """Learn the shapes of the inputs."""
        self._run = run

    def attach(self, student: nn.Module) -> nn.Module:
        """The student with rounding inside, which waits."""
        if self._run is None:
            raise ValueError("attached before it entered a run")
        shapes = [spec.shape for spec in self._run.inputs]
        self._module = FakeQuantized(
            student, [torch.zeros(2, *shape) for shape in shapes], as_deployed=False
        )
        self._module.rounding.zero_()
        return self._module

    def parameter_groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """Ranges have no weight decay."""
        return [{"params": [self._attached.stretch], "weight_decay": 0.0}]

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """Those of the inner method, of rounded answers once rounding has begun."""
        return self._inner.losses(module, batch)

    def after_step(self, module: nn.Module) -> None:
        """Keep every range wide enough to be one."""
        self._attached.limit_ranges()

    def after_epoch(self, epoch: int) -> None:
        """Begin to round when it is time."""
        if epoch + 1 >= self._first_epoch:
            self._attached.rounding.fill_(1.0)

    def finish(self, module: nn.Module) -> nn.Module:
        """The student alone."""
        return self._attached.network

    def learned_ranges(self) -> Mapping[str, tuple[float, float]]:
        """Of the activations that were rounded; none where rounding never began."""
        return self._attached.ranges() if self._attached.rounding else {}

    @property
    def _attached(self) -> FakeQuantized:
        if self._module is None:
            raise ValueError("asked before it was attached")
        return self._module
