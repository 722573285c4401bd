"""Which samples a step sees, and how they become a training view.

Nothing here has state: order, crops and mixes are functions of seed, epoch and step, so a resumed
run continues with exactly the batch that the uninterrupted run would have seen.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.data.cache import PixelSource
from edgekd.distill.augment import Augment, crop_and_flip, rand_augment
from edgekd.distill.sampling import Sampler, Shuffled
from edgekd.evaluate.classification import to_view


@dataclass(frozen=True, kw_only=True)
class View:
    """One process's share of one step."""

    images: Tensor
    """``(B, C, H, W)`` float in [0, 1], augmented, not normalised."""
    targets: Tensor
    """``(B,)`` class indices, or ``(B, K)`` probabilities when images were mixed."""
    indices: Tensor
    """``(B,)`` int64, positions in the training split."""


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The training split in the order of a sampler, cut into steps and among processes.

    ``batch_size`` counts the samples of all processes together; each takes a contiguous part of it.
    """

    pixels: PixelSource
    labels: NDArray[np.int64]
    augment: Augment
    batch_size: int
    seed: int
    rank: int
    world_size: int
    device: torch.device
    sampler: Sampler | None = None
    """Gives each epoch's order; ``None`` shows every sample once, shuffled."""

    @property
    def order(self) -> Sampler:
        """The sampler in use."""
        if self.sampler is not None:
            return self.sampler
        return Shuffled(num_samples=len(self.labels), batch_size=self.batch_size, seed=self.seed)

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one epoch of the sampler."""
        return self.order.steps_per_epoch

    def epoch(self, epoch: int, *, first_step: int = 0) -> Iterator[View]:
        """The views of one epoch from ``first_step`` on; pixels are read one step ahead."""
        order = self.order.epoch(epoch)
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead: Future[_Pixels] = reader.submit(self._read, order, epoch, first_step)
            for step in range(first_step, self.steps_per_epoch):
                ready = ahead.result()
                if step + 1 < self.steps_per_epoch:
                    ahead = reader.submit(self._read, order, epoch, step + 1)
                yield self._view(ready, epoch, step)

    def _read(self, order: NDArray[np.int64], epoch: int, step: int) -> "_Pixels":
        chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
        first = len(chosen) * self.rank // self.world_size
        last = len(chosen) * (self.rank + 1) // self.world_size
        rng = np.random.default_rng([self.seed, epoch, step])
        pixels = crop_and_flip(self.pixels[chosen], self.augment, rng)
        return _Pixels(pixels=pixels[first:last], indices=chosen[first:last], first=first)

    def _view(self, read: "_Pixels", epoch: int, step: int) -> View:
        # Everything that uses torch's global generator runs here, in the training thread.
        seed = int(np.random.default_rng([self.seed, epoch, step, 1]).integers(2**30))
        pixels = read.pixels
        if self.augment.randaugment:
            pixels = rand_augment(pixels, self.augment.randaugment, seed=seed + read.first)
        images = to_view(pixels, self.device)
        targets = torch.from_numpy(self.labels[read.indices]).to(self.device)
        if self.augment.mix is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                images, targets = self.augment.mix(images, targets)
        return View(
            images=images,
            targets=targets,
            indices=torch.from_numpy(read.indices).to(self.device),
        )


@dataclass(frozen=True, kw_only=True)
class _Pixels:
    pixels: NDArray[np.uint8]
    indices: NDArray[np.int64]
    first: int
    """Position in the global batch of this process's first sample."""
