"""Two memories of past answers: a table, where it fits, or past weights, which are run again."""

import copy
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from edgekd.config import SoftLabelsRecipe
from edgekd.console import Console
from edgekd.distill.methods.gather import broadcast_buffers
from edgekd.distill.methods.softening.soft_labels import Answers
from edgekd.distill.methods.softening.table import PredictionTable, table_bytes
from edgekd.errors import ConfigError

_MB: Final = 1_000_000


class Recalled(NamedTuple):
    """What is remembered of a batch."""

    answers: Answers
    known: Tensor
    """``(B,)`` bool: whether anything was; where not, ``answers`` means nothing."""


Respond = Callable[[nn.Module, tuple[Tensor, ...]], Answers]
"""What a given network answers to a batch of inputs."""


class Memory(Protocol):
    """Where past answers come from."""

    keeps_answers: bool
    """Whether :meth:`keep` does anything: if not, nobody need work answers out for it."""

    def recall(self, inputs: tuple[Tensor, ...], indices: Tensor) -> Recalled | None:
        """The past answers to a batch; ``None`` while there is no past."""

    def keep(self, indices: Tensor, answers: Answers) -> None:
        """Remember what was answered in a step, once the step is taken."""

    def after_step(self, module: nn.Module) -> None:
        """Look at the weights after a step."""

    def after_epoch(self, module: nn.Module) -> None:
        """Look at the weights after an epoch."""

    def state(self) -> dict[str, Tensor]:
        """Tensors for a checkpoint; a collective where there are several processes."""

    def load_state(self, state: Mapping[str, Tensor], module: nn.Module) -> None:
        """Take back what :meth:`state` gave, in a run that trains ``module``."""


class TableMemory:
    """Answers of the step in which a sample was last seen.

    Args:
        num_samples: Of the training split.
        shape: ``(M, L, K)``: transformations (1 where there are no branches), branches, classes.
        device: Where the table lies.
    """

    keeps_answers = True

    def __init__(
        self, num_samples: int, shape: tuple[int, int, int], *, device: torch.device
    ) -> None:
        self._shape = shape
        self._table = PredictionTable(num_samples, row_width(shape), device=device)

    def recall(self, inputs: tuple[Tensor, ...], indices: Tensor) -> Recalled | None:
        """What lies in the table, brought back to sums of exactly 1."""
        transformations, branches, classes = self._shape
        rows, known = self._table.read(indices)
        main, joint = rows[:, :classes], rows[:, classes:]
        joint = joint.reshape(len(rows), transformations, branches, classes * transformations)
        return Recalled(Answers(_normalised(main), _normalised(joint)), known)

    def keep(self, indices: Tensor, answers: Answers) -> None:
        """Write both parts of a row."""
        self._table.write(indices, torch.cat([answers.main, answers.joint.flatten(1)], dim=1))

    def after_step(self, module: nn.Module) -> None:
        """Nothing: the table holds answers, not weights."""

    def after_epoch(self, module: nn.Module) -> None:
        """Exchange rows with the other processes."""
        self._table.synchronise()

    def state(self) -> dict[str, Tensor]:
        """The table, the same in every process."""
        self._table.synchronise()
        return self._table.state()

    def load_state(self, state: Mapping[str, Tensor], module: nn.Module) -> None:
        """Fill the table."""
        self._table.load_state(state)


class NetworkMemory:
    """Answers of past weights to the present view.

    Several processes share one past, statistics of norms included: those of the first, which are
    the ones that its checkpoint holds and that every process starts its next step from.

    Args:
        respond: How a network is asked.
        decay: Per step, of a moving average; ``None`` takes the weights after every epoch.
        device: Where the past network runs.
    """

    keeps_answers = False

    def __init__(self, respond: Respond, *, decay: float | None, device: torch.device) -> None:
        self._respond = respond
        self._device = device
        self._decay = decay
        self._past: nn.Module | None = None
        self._epochs = 0

    @torch.no_grad()
    def recall(self, inputs: tuple[Tensor, ...], indices: Tensor) -> Recalled | None:
        """What the past weights answer; nothing in the first epoch."""
        if self._past is None or self._epochs == 0:
            return None
        answers = self._respond(self._past, inputs)
        known = torch.ones(len(indices), dtype=torch.bool, device=indices.device)
        return Recalled(answers, known)

    def keep(self, indices: Tensor, answers: Answers) -> None:
        """Nothing: the network answers anew."""

    @torch.no_grad()
    def after_step(self, module: nn.Module) -> None:
        """Move the average towards the present weights."""
        if self._decay is None:
            return
        broadcast_buffers(module)
        if self._past is None:
            self._past = self._frozen(module)
            return
        past, now = self._past.state_dict(), module.state_dict()
        for name, value in past.items():
            if value.is_floating_point():
                value.lerp_(now[name], 1 - self._decay)
            else:  # counters of norms
                value.copy_(now[name])

    @torch.no_grad()
    def after_epoch(self, module: nn.Module) -> None:
        """Take the weights of this epoch; an average goes on as it is."""
        self._epochs += 1
        if self._decay is None:
            broadcast_buffers(module)
            self._past = self._frozen(module)

    def state(self) -> dict[str, Tensor]:
        """The past weights and how many epochs they saw."""
        found = {"epochs": torch.tensor(self._epochs)}
        if self._past is not None:
            found |= {f"past.{name}": value for name, value in self._past.state_dict().items()}
        return found

    def load_state(self, state: Mapping[str, Tensor], module: nn.Module) -> None:
        """Rebuild the past network in the shape of ``module``."""
        self._epochs = int(state["epochs"])
        weights = {n.removeprefix("past."): v for n, v in state.items() if n.startswith("past.")}
        if weights:
            self._past = self._frozen(module)
            self._past.load_state_dict(weights)

    def _frozen(self, module: nn.Module) -> nn.Module:
        past = copy.deepcopy(module).eval().requires_grad_(False).to(self._device)
        # The layout of a trained module, also where a resumed run has not laid it out yet.
        return past.to(memory_format=torch.channels_last)


def make_memory(
    recipe: SoftLabelsRecipe,
    *,
    num_samples: int,
    shape: tuple[int, int, int],
    respond: Respond,
    device: torch.device,
    console: Console,
) -> Memory:
    """The memory a recipe asks for; which one it is goes to the console.

    Args:
        recipe: Source, limit and decay.
        num_samples: Of the training split.
        shape: ``(M, L, K)`` as in :class:`TableMemory`.
        respond: How a past network is asked.
        device: Where a table lies, or a past network runs.
        console: Told.

    Raises:
        ConfigError: If the recipe insists on a table that is larger than its limit.
    """
    size = table_bytes(num_samples, row_width(shape))
    fits = size <= recipe.table_limit_mb * _MB
    source = recipe.source
    amount = f"{size / _MB:,.1f} MB" if size >= _MB else f"{size / 1000:,.1f} kB"
    wanted = f"a table of {amount} for {num_samples:,} samples"
    limit = f"the limit is {recipe.table_limit_mb:,} MB"
    if source == "table" and not fits:
        raise ConfigError(
            f"soft_labels.source table: {wanted}, {limit}; raise table_limit_mb, or choose previous"
        )
    if source in ("auto", "table") and fits:
        console.info(f"soft labels: {wanted}; {limit}")
        return TableMemory(num_samples, shape, device=device)
    past = "averaged" if source == "ema" else "previous epoch's"
    console.info(f"soft labels: the {past} weights are run forward ({wanted}; {limit})")
    decay = recipe.ema_decay if source == "ema" else None
    return NetworkMemory(respond, decay=decay, device=device)


def row_width(shape: tuple[int, int, int]) -> int:
    """Numbers that ``(M, L, K)`` need per sample: K, and M x L joint distributions."""
    transformations, branches, classes = shape
    return classes + transformations * branches * classes * transformations


def _normalised(probabilities: Tensor) -> Tensor:
    """Distributions that half precision had rounded; rows of zeros stay zero."""
    total = probabilities.sum(dim=-1, keepdim=True)
    return probabilities / torch.where(total > 0, total, torch.ones_like(total))
