"""Which samples a step sees, and how they become a training view.

Nothing here has state: order, crops and mixes are functions of seed, epoch and step, so a resumed
run continues with exactly the batch that the uninterrupted run would have seen.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.distill.augment import Augment, crop_and_flip, erase, rand_augment
from edgekd.distill.sampling import Sampler, Shuffled
from edgekd.evaluate.classification import Source, to_view


@dataclass(frozen=True, kw_only=True)
class View:
    """One process's share of one step."""

    inputs: tuple[Tensor, ...]
    """One per input of the network, augmented, not normalised: ``(B, C, H, W)`` float in [0, 1]
    of images, ``(B, C, T)`` of a sensor."""
    targets: Tensor
    """``(B,)`` class indices, or ``(B, K)`` probabilities when images were mixed."""
    indices: Tensor
    """``(B,)`` int64, positions in the training split."""


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The training split in the order of a sampler, cut into steps and among processes.

    ``batch_size`` counts the samples of all processes together; each takes a contiguous part of it.
    """

    source: Source
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
        """The views of one epoch from ``first_step`` on; samples are read one step ahead."""
        order = self.order.epoch(epoch)
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead: Future[_Read] = reader.submit(self._read, order, epoch, first_step)
            for step in range(first_step, self.steps_per_epoch):
                ready = ahead.result()
                if step + 1 < self.steps_per_epoch:
                    ahead = reader.submit(self._read, order, epoch, step + 1)
                yield self._view(ready, epoch, step)

    def _read(self, order: NDArray[np.int64], epoch: int, step: int) -> "_Read":
        chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
        first = len(chosen) * self.rank // self.world_size
        last = len(chosen) * (self.rank + 1) // self.world_size
        rng = np.random.default_rng([self.seed, epoch, step])
        augment = self.augment.at(epoch)
        samples = tuple(
            _on_pixels(values, augment, rng) if _is_image(values) else values
            for values in self.source[chosen]
        )
        mine = tuple(values[first:last] for values in samples)
        return _Read(samples=mine, indices=chosen[first:last], first=first)

    def _view(self, read: "_Read", epoch: int, step: int) -> View:
        # Everything that uses torch's global generator runs here, in the training thread.
        rng = np.random.default_rng([self.seed, epoch, step, 1])
        seed = int(rng.integers(2**30))
        augment = self.augment.at(epoch)
        inputs = tuple(self._input(values, augment, seed + read.first) for values in read.samples)
        targets = torch.from_numpy(self.labels[read.indices]).to(self.device)
        if augment.mix is not None and rng.random() < augment.mix_share:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                # a network of one image alone: several inputs would have to be mixed alike
                image, targets = augment.mix(inputs[0], targets)
                inputs = (image,)
        return View(
            inputs=inputs,
            targets=targets,
            indices=torch.from_numpy(read.indices).to(self.device),
        )

    def _input(self, samples: NDArray[Any], augment: Augment, seed: int) -> Tensor:
        if augment.randaugment and _is_image(samples):
            samples = rand_augment(samples, augment.randaugment, seed=seed)
        return to_view(samples, self.device)


def _on_pixels(
    pixels: NDArray[np.uint8], augment: Augment, rng: np.random.Generator
) -> NDArray[np.uint8]:
    return erase(crop_and_flip(pixels, augment, rng), augment, rng)


def _is_image(samples: NDArray[Any]) -> bool:
    return samples.dtype == np.uint8


@dataclass(frozen=True, kw_only=True)
class _Read:
    samples: tuple[NDArray[Any], ...]
    indices: NDArray[np.int64]
    first: int
    """Position in the global batch of this process's first sample."""
