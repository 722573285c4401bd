"""Calibration samples: the ones that set activation ranges. Training split only, class-balanced."""

import numpy as np

from edgekd.data.dataset import Indices


def calibration_indices(labels: Indices, *, num_samples: int, seed: int) -> Indices:
    """Pick samples in rounds, one of each class per round, in a seeded order.

    So classes differ by at most one while they last, one sample is a valid set, and a smaller set
    is the beginning of a larger one with the same seed. Where fewer than ``num_samples`` exist,
    all of them are returned.

    >>> calibration_indices(np.array([0, 0, 0, 0, 0, 1]), num_samples=2, seed=0).size
    2

    Args:
        labels: ``(N,)``, of the training split.
        num_samples: At least 1.
        seed: Of the order of samples and classes.

    Returns:
        ``(min(num_samples, N),)`` distinct positions.

    Raises:
        ValueError: If ``num_samples`` < 1 or there are no labels.
    """
    if num_samples < 1 or not len(labels):
        raise ValueError(f"expected samples to pick from, found {num_samples} of {len(labels)}")
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    classes, codes = np.unique(labels[shuffled], return_inverse=True)
    place = generator.permutation(len(classes))[codes]  # a class's place within a round
    turn = np.empty(len(labels), np.int64)  # how many of the same class come before
    for code in range(len(classes)):
        members = np.flatnonzero(codes == code)
        turn[members] = np.arange(len(members))
    return shuffled[np.lexsort((place, turn))[:num_samples]].astype(np.int64)
