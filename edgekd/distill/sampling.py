"""The order in which an epoch shows its samples: a function of seed and epoch, without state.

A sampler gives the whole epoch at once; :class:`~edgekd.distill.batches.Batches` cuts it into
steps and every step among processes.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class Sampler(Protocol):
    """Which samples an epoch shows."""

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one epoch, at least one."""

    def epoch(self, epoch: int) -> Indices:
        """Positions in the training split; step ``s`` takes the ``s``-th batch of them."""


@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """Every sample once, in random order.

    The samples left over after the last full batch of an epoch wait for another epoch's shuffle, so
    BatchNorm never sees a tiny batch; a split smaller than one batch is one batch.
    """

    num_samples: int
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the split."""
        return max(1, self.num_samples // self.batch_size)

    def epoch(self, epoch: int) -> Indices:
        """A permutation of all samples."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.num_samples)


@dataclass(frozen=True, kw_only=True, eq=False)
class IdentityBalanced:
    """P identities with K images each in every batch, so that there is something to compare.

    Identities are drawn in rounds: a round shuffles them all and deals them out, P to a step; those
    left over wait for the next round. So however many images they have, identities are seen
    equally often. An identity's images are drawn in rounds as well: no image comes again before
    the others of its identity, and where there are fewer than K the round starts again within the
    step. An epoch has as many steps as full batches fit into the split, so it costs what a plain
    epoch costs.

    Attributes:
        labels: ``(N,)``, identities of the training split.
        identities_per_batch: P, at most the number of identities.
        images_per_identity: K.
        seed: Of all draws.

    Raises:
        ValueError: If there are fewer than P identities.

    Source:
        Hermans, Beyer & Leibe (2017), arXiv:1703.07737, section 2.
    """

    labels: Indices
    identities_per_batch: int
    images_per_identity: int
    seed: int

    def __post_init__(self) -> None:
        found = len(np.unique(self.labels))
        if found < self.identities_per_batch:
            raise ValueError(f"{self.identities_per_batch} identities a batch, found {found}")

    @property
    def batch_size(self) -> int:
        """P x K."""
        return self.identities_per_batch * self.images_per_identity

    @property
    def steps_per_epoch(self) -> int:
        """Full batches that the split's samples would make."""
        return max(1, len(self.labels) // self.batch_size)

    def epoch(self, epoch: int) -> Indices:
        """``steps_per_epoch * P * K`` positions, the K of an identity side by side."""
        rng = np.random.default_rng([self.seed, epoch])
        shuffled = rng.permutation(len(self.labels))
        images = shuffled[np.argsort(self.labels[shuffled], kind="stable")]
        _, starts, counts = np.unique(self.labels[images], return_index=True, return_counts=True)
        drawn, visits = _rounds(rng, len(counts), self)
        turns = visits[:, None] * self.images_per_identity + np.arange(self.images_per_identity)
        picked: Indices = images[starts[drawn][:, None] + turns % counts[drawn][:, None]]
        return picked.reshape(-1)


def _rounds(
    rng: np.random.Generator, num_identities: int, plan: IdentityBalanced
) -> tuple[Indices, Indices]:
    """Identities of an epoch's places, and how often each one came before within the epoch."""
    places = plan.steps_per_epoch * plan.identities_per_batch
    per_round = num_identities - num_identities % plan.identities_per_batch
    seen = np.zeros(num_identities, np.int64)
    drawn, visits = [], []
    for start in range(0, places, per_round):
        dealt = rng.permutation(num_identities)[: min(per_round, places - start)]
        drawn.append(dealt)
        visits.append(seen[dealt])
        seen[dealt] += 1
    return np.concatenate(drawn), np.concatenate(visits)
