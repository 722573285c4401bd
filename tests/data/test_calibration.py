import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.data.calibration import calibration_indices


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array),
    num_samples=st.integers(1, 80),
    seed=st.integers(0, 5),
)
def test_classes_are_balanced_as_far_as_they_go(labels, num_samples, seed):
    chosen = calibration_indices(labels, num_samples=num_samples, seed=seed)
    assert len(chosen) == len(set(chosen.tolist())) == min(num_samples, len(labels))
    available = np.bincount(labels, minlength=5)
    taken = np.bincount(labels[chosen], minlength=5)
    unfinished = taken[taken < available]  # classes that still had some to give
    if len(unfinished):
        assert taken.max() - unfinished.min() <= 1


@given(seed=st.integers(0, 100), small=st.integers(1, 30))
def test_a_smaller_set_begins_a_larger_one(seed, small):
    labels = np.arange(40) % 3
    large = calibration_indices(labels, num_samples=30, seed=seed)
    assert np.array_equal(calibration_indices(labels, num_samples=small, seed=seed), large[:small])


def test_the_seed_decides_which():
    labels = np.zeros(1000, np.int64)
    first, second = (calibration_indices(labels, num_samples=20, seed=s) for s in (0, 1))
    assert len(set(first.tolist()) & set(second.tolist())) < 10


@pytest.mark.parametrize(("labels", "num_samples"), [([], 1), ([0], 0)])
def test_nothing_to_pick_is_refused(labels, num_samples):
    with pytest.raises(ValueError, match="expected samples"):
        calibration_indices(np.array(labels, np.int64), num_samples=num_samples, seed=0)
