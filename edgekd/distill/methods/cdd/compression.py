"""The second phase: masks that grow, rows that are pulled to zero, channels that die."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from edgekd.config import CddRecipe
from edgekd.distill.methods.cdd.channels import Channels
from edgekd.distill.methods.cdd.indicator import IndicatedNorm, row_lengths
from edgekd.distill.methods.cdd.mask import Pairs, dispensability, dispensable, neighbour_pairs
from edgekd.distill.methods.cdd.pull import Pull
from edgekd.distill.methods.cdd.queue import FeatureQueue
from edgekd.distill.methods.cdd.reset import reset_gradient, rows_of
from edgekd.distill.methods.cdd.target import Target
from edgekd.distill.methods.gather import gathered

_MEMORY: Final = 0.95  # of a channel's score from step to step


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """What one process saw of its share of a batch."""

    teacher: Sequence[Tensor]
    """``(B, C)`` per site, in front of the teacher's activations."""
    student: Sequence[Tensor]
    """``(B, C')`` per site, behind the student's indicators."""
    labels: Tensor
    """``(B,)`` int64."""


class Compression:
    """Decides which channels go and makes them go.

    Args:
        recipe: How.
        channels: One per site, defended at first.
        class_neighbours: Whether neighbours have to be of the image's own class.
        pull: How hard masked rows are pulled.
        target: What size to end at; ``None`` leaves that to the rule.
    """

    def __init__(
        self,
        recipe: CddRecipe,
        channels: Sequence[Channels],
        *,
        class_neighbours: bool,
        pull: Pull,
        target: Target | None,
    ) -> None:
        self._recipe = recipe
        self.channels = list(channels)
        self._class_neighbours = class_neighbours
        self._pull = pull
        self._target = target
        self.queue = FeatureQueue(recipe.queue_size)

    def to(self, device: torch.device) -> None:
        """Move all channels to ``device``, in place; a checkpoint leaves them on the CPU."""
        for channels in self.channels:
            channels.to(device)

    def step(
        self,
        parts: Sequence[IndicatedNorm],
        followers: Sequence[nn.Module | None],
        pooled: Pooled,
        *,
        step: int,
        progress: float,
    ) -> None:
        """Update the masks and replace gradients, between the backward pass and the update.

        Args:
            parts: The indicators, one per site.
            followers: Per site the BatchNorm behind its depthwise convolution, if it has one:
                the bias there would speak for a channel that is zero in front of it.
            pooled: This process's share of the batch.
            step: Number of the step in the whole run.
            progress: Share of the second phase that is over, in [0, 1].
        """
        self.to(pooled.labels.device)
        if self._recipe.mask == "retrieval":
            self._look(pooled)
        else:
            self._weigh_rows(parts)
        if self._target is not None:
            self._mask_towards(self._target, progress)
        self._reset(parts, followers, step)

    def _look(self, pooled: Pooled) -> None:
        """Compare the batch with the queue; masks without a target, scores with one."""
        sites = len(self.channels)
        everything = gathered([*pooled.teacher, *pooled.student, pooled.labels])
        teacher, student, labels = everything[:sites], everything[sites:-1], everything[-1]
        self.queue.add(teacher, labels)
        same = labels[:, None] == self.queue.labels[None, :] if self._class_neighbours else None
        for site, channels in enumerate(self.channels):
            pairs = neighbour_pairs(
                teacher[site],
                student[site],
                self.queue.vectors(site),
                num_neighbours=self._recipe.num_neighbours,
                same_class=same,
                channels=channels.numbers,
            )
            if self._target is None:
                self._mask_by_rule(channels, pairs)
            else:
                found = dispensability(
                    pairs, mask=channels.mask, full=channels.full, ratio=self._recipe.mask_ratio
                )
                is_first = not bool(channels.score.any())
                channels.score = found if is_first else channels.score.lerp(found, 1 - _MEMORY)

    def _mask_by_rule(self, channels: Channels, pairs: Pairs) -> None:
        # A channel that is gone adds nothing to any pair: it would be among the smallest.
        num_low = int(self._recipe.mask_ratio * channels.full) - channels.num_removed
        channels.mask &= ~dispensable(pairs, num_low=num_low)

    def _weigh_rows(self, parts: Sequence[IndicatedNorm]) -> None:
        for channels, part in zip(self.channels, parts, strict=True):
            channels.score = -row_lengths(part.rows().detach())

    def _mask_towards(self, target: Target, progress: float) -> None:
        masks = [channels.mask for channels in self.channels]
        scores = [channels.score for channels in self.channels]
        for channels, chosen in zip(
            self.channels, target.choose(scores, masks, progress), strict=True
        ):
            channels.mask &= ~chosen

    @torch.no_grad()
    def _reset(
        self, parts: Sequence[IndicatedNorm], followers: Sequence[nn.Module | None], step: int
    ) -> None:
        groups = [
            (part.indicator.weight, _bias_of(follower), channels)
            for part, follower, channels in zip(parts, followers, self.channels, strict=True)
        ]
        strength = self._pull.strength(step, _longest(groups))
        band = self._pull.band(step, strength)
        masks = [channels.mask for channels in self.channels]
        is_done = self._target is not None and self._target.is_reached(masks)
        defended = 0.0 if is_done else self._recipe.compression  # the lasso of all other rows
        for (weight, bias, channels), follower in zip(groups, followers, strict=True):
            spared, mask = channels.bury(_lengths(weight, bias), band), channels.mask
            clear_channels(weight, follower, channels.dead)
            pull = torch.where(spared, 0.0, strength)
            reset_gradient(weight, mask, torch.where(mask, defended, pull))
            if bias is not None:
                reset_gradient(bias, mask, torch.where(mask, 0.0, pull))

    def clear_dead(
        self, parts: Sequence[IndicatedNorm], followers: Sequence[nn.Module | None]
    ) -> None:
        """Set all that dead channels pass on to zero."""
        for channels, part, follower in zip(self.channels, parts, followers, strict=True):
            channels.to(part.indicator.weight.device)
            clear_channels(part.indicator.weight, follower, channels.dead)

    def survivors(
        self, parts: Sequence[IndicatedNorm], followers: Sequence[nn.Module | None]
    ) -> list[Tensor]:
        """Positions ``(K,)`` per site of the channels that a finished network keeps, one at least.

        Short rows go. With a target a row has to be masked as well, so that the end is the target.
        """
        kept = []
        for part, follower, channels in zip(parts, followers, self.channels, strict=True):
            lengths = _lengths(part.indicator.weight, _bias_of(follower)).detach()
            goes = (lengths < self._recipe.threshold) | channels.dead.to(lengths.device)
            if self._target is not None:
                goes &= ~channels.mask.to(lengths.device)
            if bool(goes.all()):
                goes[lengths.argmax()] = False
            kept.append((~goes).nonzero().flatten())
        return kept

    def living(self) -> list[Tensor]:
        """Positions ``(K,)`` per site of the channels that are not dead, one at least."""
        kept = []
        for channels in self.channels:
            lives = ~channels.dead
            if not bool(lives.any()):
                lives[0] = True
            kept.append(lives.nonzero().flatten())
        return kept

    def state(self) -> dict[str, Tensor]:
        """Masks, scores and the queue."""
        sites = {
            f"site.{index}.{name}": tensor
            for index, channels in enumerate(self.channels)
            for name, tensor in channels.state().items()
        }
        return sites | {f"queue.{name}": value for name, value in self.queue.state().items()}

    def load_queue(self, state: Mapping[str, Tensor]) -> None:
        """Take the queue back from what :meth:`state` gave."""
        self.queue.load_state(_under("queue.", state))


@torch.no_grad()
def clear_channels(weight: Tensor, follower: nn.Module | None, dead: Tensor) -> None:
    """Set rows to zero and, behind a depthwise convolution, what would still speak for them.

    Args:
        weight: ``(C, ...)``, the indicator's.
        follower: The BatchNorm behind the depthwise convolution, if there is one.
        dead: ``(C,)`` bool.
    """
    weight[dead] = 0
    if follower is not None:
        for vector in (follower.bias, follower.running_mean):  # the mean of zeros is zero
            vector[dead] = 0  # type: ignore[operator]


def load_channels(state: Mapping[str, Tensor]) -> list[Channels]:
    """Take the channels back from what :meth:`Compression.state` gave."""
    found: list[Channels] = []
    while part := _under(f"site.{len(found)}.", state):
        found.append(Channels.of(part))
    return found


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): value for n, value in state.items() if n.startswith(prefix)}


def _bias_of(follower: nn.Module | None) -> Tensor | None:
    return None if follower is None else follower.bias  # type: ignore[return-value]


def _lengths(weight: Tensor, bias: Tensor | None) -> Tensor:
    """What a channel still passes on: the length of its row, or its bias further on."""
    lengths = row_lengths(rows_of(weight))
    return lengths if bias is None else torch.maximum(lengths, bias.abs())


def _longest(groups: Sequence[tuple[Tensor, Tensor | None, Channels]]) -> float:
    lengths = [
        _lengths(weight, bias).masked_fill(channels.mask, 0).max()
        for weight, bias, channels in groups
    ]
    return float(torch.stack(lengths).max())
