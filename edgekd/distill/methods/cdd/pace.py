"""How much training time a smaller network saves."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(kw_only=True)
class Pace:
    """Epochs at full size, and the time saved since, over all resumes."""

    full_epochs: float = 0.0
    full_seconds: float = 0.0
    saved: float = 0.0
    has_shrunk: bool = False

    def add(self, seconds: float, *, is_smaller: bool) -> float:
        """Count one more epoch; return the seconds saved so far.

        An epoch saves what it took less than the mean of the epochs at full size. The epoch at
        whose end the first channels went was itself one at full size.
        """
        if not self.has_shrunk:
            self.full_epochs += 1
            self.full_seconds += seconds
        else:
            self.saved += self.full_seconds / self.full_epochs - seconds
        self.has_shrunk = self.has_shrunk or is_smaller
        return self.saved

    def state(self) -> Tensor:
        """``(4,)`` float64: itself."""
        values = [self.full_epochs, self.full_seconds, self.saved, float(self.has_shrunk)]
        return torch.tensor(values, dtype=torch.float64)

    @classmethod
    def of(cls, state: Tensor) -> Self:
        """What :meth:`state` gave."""
        epochs, seconds, saved, has_shrunk = state.tolist()
        return cls(
            full_epochs=epochs, full_seconds=seconds, saved=saved, has_shrunk=bool(has_shrunk)
        )
