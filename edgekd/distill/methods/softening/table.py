"""What a network answered for every training sample, remembered in half precision.

Several processes write the rows of their own samples; :meth:`PredictionTable.synchronise` gives
every process all of them.
"""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor, distributed

_CHUNK: Final = 8192  # rows exchanged at a time
_BYTES: Final = 2  # of a half


def table_bytes(num_samples: int, width: int) -> int:
    """Size of a table in bytes, without its marks.

    >>> table_bytes(50_000, 4 * 3 * 400)  # CIFAR-100, four rotations, three branches
    480000000
    """
    return num_samples * width * _BYTES


class PredictionTable:
    """One row of probabilities per training sample.

    Args:
        num_samples: Rows.
        width: Numbers per row.
        device: Where it lies.
    """

    def __init__(self, num_samples: int, width: int, *, device: torch.device) -> None:
        self.rows = torch.zeros(num_samples, width, dtype=torch.float16, device=device)
        self.known = torch.zeros(num_samples, dtype=torch.bool, device=device)
        """Which rows were ever written."""
        self._mine = torch.zeros_like(self.known)
        """Which rows this process wrote since all processes last agreed."""

    def read(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Rows ``(B, width)`` float32, zeros where nothing is known, and ``(B,)`` whether it is."""
        return self.rows[indices].float(), self.known[indices]

    def write(self, indices: Tensor, rows: Tensor) -> None:
        """Remember ``(B, width)`` for the samples at ``(B,)`` positions."""
        self.rows[indices] = rows.to(self.rows.dtype)
        self.known[indices] = True
        self._mine[indices] = True

    def synchronise(self) -> None:
        """Give every process what any of them wrote; each sample had one writer.

        A collective where there are several processes: all of them must call it.
        """
        if distributed.is_available() and distributed.is_initialized():
            written = self._mine.float()
            distributed.all_reduce(written)
            for start in range(0, len(self.rows), _CHUNK):
                self._exchange(slice(start, start + _CHUNK), written)
            self.known |= written > 0
        self._mine.zero_()

    def _exchange(self, chunk: slice, written: Tensor) -> None:
        # One addend is the row, the others are zero: the sum is exact.
        rows = self.rows[chunk].float() * self._mine[chunk, None]
        distributed.all_reduce(rows)
        fresh = written[chunk] > 0
        self.rows[chunk] = torch.where(fresh[:, None], rows.to(self.rows.dtype), self.rows[chunk])

    def state(self) -> dict[str, Tensor]:
        """Itself as tensors; the same in every process after :meth:`synchronise`."""
        return {"rows": self.rows, "known": self.known}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state` gave."""
        self.rows.copy_(state["rows"])
        self.known.copy_(state["known"])
        self._mine.zero_()
