"""What the loop asks of a method, and what it gives it."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from edgekd.teachers.protocol import Capability, TeacherOutput


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's samples as a method sees them."""

    inputs: Tensor
    """``(B, C, H, W)`` float, augmented and normalised for the student."""
    targets: Tensor
    """``(B,)`` class indices, or ``(B, K)`` probabilities when images were mixed."""
    indices: Tensor
    """``(B,)`` int64, positions in the training split."""
    teacher: TeacherOutput | None
    """The teacher's answer to the same augmented view; ``None`` without a teacher."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """A scalar to minimise, and the named terms it is made of (detached, for the history)."""

    total: Tensor
    terms: Mapping[str, Tensor]


class Method(Protocol):
    """A guest in the loop. What it adds for training only is gone after :meth:`finish`.

    The bodies here are those of a guest that adds nothing and keeps no state; a method that derives
    from the protocol writes only what it does differently.
    """

    teacher_needs: frozenset[Capability] = frozenset()
    """What the teacher must give; empty if the method works without one."""

    def attach(self, student: nn.Module) -> nn.Module:
        """The module that is trained: the student, with what the method adds to it."""
        return student

    @abstractmethod
    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """Run ``module`` (possibly wrapped for several processes) and weigh its errors."""

    def after_backward(self, module: nn.Module) -> None:
        """Change gradients before the optimizer steps."""

    def after_epoch(self, epoch: int) -> None:
        """Change the method's own state after ``epoch`` (from 0)."""

    def finish(self, module: nn.Module) -> nn.Module:
        """The plain student, with everything that was for training only stripped or merged."""
        return module

    def state(self) -> dict[str, Tensor]:
        """Tensors that a checkpoint must hold beyond the module's own."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state` gave."""
