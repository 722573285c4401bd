"""Training on a share of the labels: which samples stay. Validation and test are left alone."""

from dataclasses import replace

import numpy as np

from edgekd.console import Console
from edgekd.data.dataset import Dataset, Indices, Samples


def labelled_indices(labels: Indices, fraction: float, *, seed: int) -> Indices:
    """Positions of a stratified share of samples, at least one per class, in rising order.

    A smaller share with the same seed is part of a larger one. A class with an odd number of
    samples rounds up or down to the nearest; halves round up.

    >>> labels = np.repeat([0, 1], [8, 2])
    >>> np.bincount(labels[labelled_indices(labels, 0.25, seed=0)]).tolist()
    [2, 1]

    Args:
        labels: ``(N,)``.
        fraction: In (0, 1].
        seed: Of the draw.

    Raises:
        ValueError: If the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"expected a fraction in (0, 1], found {fraction}")
    order = np.random.default_rng([seed, 1]).permutation(len(labels))
    kept = []
    for label in np.unique(labels):
        members = order[labels[order] == label]
        kept.append(members[: max(1, int(fraction * len(members) + 0.5))])
    return np.sort(np.concatenate(kept))


def keep_labels(dataset: Dataset, fraction: float, *, seed: int, console: Console) -> Dataset:
    """The data set with a share of its training samples.

    Its fingerprint stays that of the whole: which samples are used follows from the recipe, and
    how many from :meth:`~edgekd.data.dataset.Dataset.ref`.

    Args:
        dataset: Whole.
        fraction: In (0, 1], of every class.
        seed: Of the draw.
        console: Told how many samples stay.
    """
    train = dataset.splits["train"]
    rows = labelled_indices(train.labels, fraction, seed=seed)
    console.info(f"{len(rows):,} of {len(train):,} training samples keep their label")
    return replace(dataset, splits={**dataset.splits, "train": _subset(train, rows)})


def _subset(samples: Samples, rows: Indices) -> Samples:
    def chosen(values: Indices | None) -> Indices | None:
        return None if values is None else values[rows]

    return replace(
        samples,
        labels=samples.labels[rows],
        names=tuple(samples.names[row] for row in rows),
        sizes=chosen(samples.sizes),
        identities=chosen(samples.identities),
        cameras=chosen(samples.cameras),
        rows=samples.rows[rows],
        roles=None if samples.roles is None else samples.roles.at(rows),
    )
