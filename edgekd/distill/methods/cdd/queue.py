"""The last teacher vectors of every block, in which neighbours are looked for."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize


class FeatureQueue:
    """A ring of the newest ``size`` samples, on the device they come from.

    Vectors are kept at unit length in half precision: 24,000 samples of ResNet-101's 8,128
    channels take 390 MB.

    Args:
        size: Samples it holds at most.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._vectors: list[Tensor] = []
        self._labels = torch.empty(0, dtype=torch.int64)
        self._next = 0
        self._count = 0

    def add(self, vectors: Sequence[Tensor], labels: Tensor) -> None:
        """Put a batch in place of the oldest samples.

        Args:
            vectors: One ``(B, C)`` per block.
            labels: ``(B,)`` int64.

        Raises:
            ValueError: If the batch is larger than the queue.
        """
        count = len(labels)
        if count > self.size:
            raise ValueError(f"a batch of {count} does not fit a queue of {self.size}")
        self._prepare(vectors, labels)
        places = (torch.arange(count, device=labels.device) + self._next) % self.size
        for held, new in zip(self._vectors, vectors, strict=True):
            held[places] = normalize(new.float(), dim=1).to(held.dtype)
        self._labels[places] = labels
        self._next = (self._next + count) % self.size
        self._count = min(self._count + count, self.size)

    def vectors(self, block: int) -> Tensor:
        """``(N, C)``: unit vectors of one block in half precision, in no particular order."""
        return self._vectors[block][: self._count]

    @property
    def labels(self) -> Tensor:
        """``(N,)``: labels of :meth:`vectors`."""
        return self._labels[: self._count]

    def state(self) -> dict[str, Tensor]:
        """Everything in it, by name."""
        vectors = {str(block): self.vectors(block) for block in range(len(self._vectors))}
        return vectors | {"labels": self.labels, "next": torch.tensor(self._next)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state` gave."""
        labels = state["labels"]
        self._count, self._next = len(labels), int(state["next"])
        self._labels = _room(labels, self.size)
        blocks = sorted((name for name in state if name.isdigit()), key=int)
        self._vectors = [_room(state[name], self.size) for name in blocks]

    def _prepare(self, vectors: Sequence[Tensor], labels: Tensor) -> None:
        if not self._vectors:
            self._labels = labels.new_zeros(self.size)
            self._vectors = [
                new.new_zeros(self.size, new.shape[1], dtype=torch.float16) for new in vectors
            ]
        elif self._labels.device != labels.device:  # after a resume
            self._labels = self._labels.to(labels.device)
            self._vectors = [held.to(labels.device) for held in self._vectors]


def _room(tensor: Tensor, size: int) -> Tensor:
    """``tensor`` at the beginning of one with ``size`` rows."""
    room = tensor.new_zeros(size, *tensor.shape[1:])
    room[: len(tensor)] = tensor
    return room
