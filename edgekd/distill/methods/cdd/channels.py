"""What is known about the channels of one site while they are being lost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(kw_only=True)
class Channels:
    """One entry per channel that is still there, in the order of the indicator's rows."""

    full: int
    """Channels that the site started with."""
    numbers: Tensor
    """int64: each channel's number among those."""
    mask: Tensor
    """bool: true while the task gradient defends the channel; never true again."""
    dead: Tensor
    """bool: masked, and all that the channel still passed on was set to zero."""
    score: Tensor
    """float32: how dispensable the channel is, averaged over steps; only compared."""

    @classmethod
    def all_of(cls, full: int) -> Self:
        """All channels of a site, defended."""
        return cls(
            full=full,
            numbers=torch.arange(full),
            mask=torch.ones(full, dtype=torch.bool),
            dead=torch.zeros(full, dtype=torch.bool),
            score=torch.zeros(full),
        )

    def to(self, device: torch.device) -> None:
        """Move to ``device``, in place."""
        if self.mask.device != device:
            self.numbers, self.mask, self.dead, self.score = (
                tensor.to(device) for tensor in (self.numbers, self.mask, self.dead, self.score)
            )

    def keep(self, positions: Tensor) -> None:
        """Forget all channels but those at ``positions``."""
        self.numbers, self.mask, self.dead, self.score = (
            tensor[positions] for tensor in (self.numbers, self.mask, self.dead, self.score)
        )

    def bury(self, lengths: Tensor, band: float) -> Tensor:
        """Count masked channels that only swing around zero as dead, but never all of a site.

        Args:
            lengths: ``(C,)``: what each channel still passes on.
            band: The swing.

        Returns:
            ``(C,)`` bool: true for the longest channel of a site whose channels are all masked: it
            is to stay and needs no pull.
        """
        places = torch.arange(len(lengths), device=lengths.device)
        spared = (places == lengths.argmax()) & ~self.mask.any()
        self.dead |= ~self.mask & ~spared & (lengths <= band)
        return spared

    @property
    def num_removed(self) -> int:
        """Channels that are physically gone."""
        return self.full - len(self.numbers)

    def state(self) -> dict[str, Tensor]:
        """Itself as tensors."""
        return {
            "full": torch.tensor(self.full),
            "numbers": self.numbers,
            "mask": self.mask,
            "dead": self.dead,
            "score": self.score,
        }

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Self:
        """What :meth:`state` gave."""
        return cls(
            full=int(state["full"]),
            numbers=state["numbers"],
            mask=state["mask"],
            dead=state["dead"],
            score=state["score"],
        )
