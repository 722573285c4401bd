"""What the loop asks of a method, and what it gives it."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from edgekd.console import Console, SilentConsole
from edgekd.records import ArchSpec, InputSpec
from edgekd.teachers.protocol import Capability, TeacherOutput


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's samples as a method sees them."""

    inputs: tuple[Tensor, ...]
    """What the module takes, ``module(*inputs)``: per input ``(B, C, H, W)`` float of an image or
    ``(B, C, T)`` of a sensor, augmented and normalised for the student."""
    targets: Tensor
    """``(B,)`` class indices, or ``(B, K)`` probabilities when images were mixed."""
    indices: Tensor
    """``(B,)`` int64, positions in the training split."""
    teacher: TeacherOutput | None
    """The teacher's answer to the same augmented views; ``None`` without a teacher."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """A scalar to minimise, and the named terms it is made of (detached, for the history)."""

    total: Tensor
    terms: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a method may know about the run it is a guest of."""

    input_shape: tuple[int, ...]
    """``(C, H, W)`` of one image, ``(C, T)`` of a sensor's window; of several inputs the first."""
    steps_per_epoch: int
    inputs: tuple[InputSpec, ...] = ()
    """Every input of the network."""
    num_samples: int = 0
    """Of the training split: what a batch's ``indices`` count."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where batches come from and the module is trained."""
    console: Console = field(default_factory=SilentConsole)
    """Hears what the method chooses by itself."""


class Method(Protocol):
    """A guest in the loop. What it adds for training only is gone after :meth:`finish`.

    The bodies here are those of a guest that adds nothing and keeps no state; a method that derives
    from the protocol writes only what it does differently.

    What is trained depends on the task, not on the method: for classification a network that
    answers ``(B, K)`` logits, for retrieval an :class:`~edgekd.students.head.IdentityNetwork`,
    which answers an :class:`~edgekd.students.head.EmbeddingOutput`.
    :func:`edgekd.distill.methods.labels.label_losses` reads both.
    """

    teacher_needs: frozenset[Capability] = frozenset()
    """What the teacher must give; empty if the method works without one."""

    def teacher_layers(self, teacher: nn.Module) -> Sequence[nn.Module]:
        """Layers of the teacher whose pooled outputs every batch must carry.

        Asked once, where ``teacher_needs`` holds ``"pooled"``; the outputs are
        :attr:`~edgekd.teachers.protocol.TeacherOutput.pooled`, in the order the layers run.
        :func:`edgekd.students.taps.pooled_outputs` reads a student in the same way.
        """
        return ()

    def enter(self, run: Run) -> None:
        """Learn about the run; the first thing that is asked of a method.

        A resumed run calls :meth:`load_state` next, and :meth:`attach` only then.
        """
        return

    def attach(self, student: nn.Module) -> nn.Module:
        """The module that is trained: the student, with what the method adds to it."""
        return student

    def parameter_groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """Groups of the optimizer for parameters that need settings of their own.

        Beside the optimizer's own keys a group may have ``lr_scale``, a factor on the schedule.
        """
        return []

    @abstractmethod
    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """Run ``module`` (possibly wrapped for several processes) and weigh its errors."""

    def after_backward(self, module: nn.Module) -> None:
        """Change gradients before the optimizer steps."""
        return

    def after_step(self, module: nn.Module) -> None:
        """Change parameters after the optimizer has."""
        return

    def after_epoch(self, epoch: int) -> None:
        """Change the method's own state after ``epoch`` (from 0)."""
        return

    def reshape(
        self,
        module: nn.Module,
        average: nn.Module | None,
        optimizer: torch.optim.Optimizer,
    ) -> bool:
        """Replace parameters between two epochs, after :meth:`after_epoch`.

        Args:
            module: What is trained, not wrapped.
            average: Its moving average of the same shape, where one is kept.
            optimizer: To be left with the parameters of the changed ``module`` and their state.

        Returns:
            Whether anything was replaced.
        """
        return False

    def progress(self, module: nn.Module, seconds: float) -> Mapping[str, float]:
        """Scalars for the history of the epoch that ended; ``seconds`` is what it took."""
        return {}

    def finish(self, module: nn.Module) -> nn.Module:
        """The plain student, with everything that was for training only stripped or merged."""
        return module

    def finished_arch(self, arch: ArchSpec) -> ArchSpec:
        """``arch`` of the student as :meth:`finish` left it; asked after it."""
        return arch

    def notes(self) -> tuple[str, ...]:
        """What whoever uses the student must know of it, a sentence each; asked after it.

        The bundle carries them, and the user is warned once it is written.
        """
        return ()

    def state(self) -> dict[str, Tensor]:
        """Tensors that a checkpoint must hold beyond the module's own.

        Every process asks at the same moment, so a method may gather here; one of them writes.
        """
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state` gave."""
        return
