from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.config import DataRecipe
from edgekd.console import SilentConsole
from edgekd.data.few_labels import keep_labels, labelled_indices
from edgekd.data.open import open_dataset
from edgekd.data.roles import ROLES, Roles

LABELS = np.repeat([0, 1, 2], [40, 20, 1])


def test_every_class_keeps_its_share_and_at_least_one():
    kept = labelled_indices(LABELS, 0.25, seed=0)
    assert np.bincount(LABELS[kept]).tolist() == [10, 5, 1]
    assert len(set(kept.tolist())) == len(kept)


@given(seed=st.integers(0, 99), small=st.floats(0.01, 1), large=st.floats(0.01, 1))
def test_a_smaller_share_is_part_of_a_larger_one(seed, small, large):
    small, large = sorted((small, large))
    few, more = (labelled_indices(LABELS, f, seed=seed) for f in (small, large))
    assert set(few.tolist()) <= set(more.tolist())


def test_seeds_draw_differently_and_repeatably():
    draws = [labelled_indices(LABELS, 0.5, seed=seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_the_whole_is_the_whole():
    assert labelled_indices(LABELS, 1, seed=3).tolist() == list(range(61))


@pytest.mark.parametrize("fraction", [0, -1, 1.1])
def test_no_such_fraction(fraction):
    with pytest.raises(ValueError, match="fraction in"):
        labelled_indices(LABELS, fraction, seed=0)


def test_roles_stay_with_their_samples():
    whole = open_dataset(DataRecipe(data="builtin:digits"), SilentConsole())
    train = whole.splits["train"]
    words = [list(ROLES)[label % 3] for label in train.labels]
    splits = {**whole.splits, "train": replace(train, roles=Roles.of(words))}
    few = keep_labels(replace(whole, splits=splits), 0.25, seed=0, console=SilentConsole())
    left = few.splits["train"]
    assert left.roles.words() == [list(ROLES)[label % 3] for label in left.labels]


def test_only_training_samples_lose_their_label():
    whole = open_dataset(DataRecipe(data="builtin:digits"), SilentConsole())
    few = keep_labels(whole, 0.25, seed=0, console=SilentConsole())
    assert few.splits["val"] is whole.splits["val"]
    assert few.fingerprint == whole.fingerprint
    train = few.splits["train"]
    counts = np.bincount(whole.splits["train"].labels)
    assert np.bincount(train.labels).tolist() == [int(0.25 * n + 0.5) for n in counts]
    assert few.ref().num_samples["train"] == len(train)
    assert set(train.names) < set(whole.splits["train"].names)
