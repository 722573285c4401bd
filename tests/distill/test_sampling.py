from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgekd.distill.augment import Augment
from edgekd.distill.batches import Batches
from edgekd.distill.sampling import IdentityBalanced, Shuffled


def balanced(counts, p, k, seed=0):
    labels = np.random.default_rng(9).permutation(np.repeat(np.arange(len(counts)), counts))
    return IdentityBalanced(labels=labels, identities_per_batch=p, images_per_identity=k, seed=seed)


def steps(sampler, epoch=0):
    return sampler.epoch(epoch).reshape(sampler.steps_per_epoch, sampler.batch_size)


def test_shuffled_shows_each_sample_once():
    sampler = Shuffled(num_samples=10, batch_size=4, seed=3)
    assert sampler.steps_per_epoch == 2
    assert sorted(sampler.epoch(0)) == list(range(10))
    # the generator that every earlier run was made with
    expected = np.random.default_rng([3, 5]).permutation(10)
    np.testing.assert_array_equal(sampler.epoch(5), expected)


def test_a_split_smaller_than_a_batch_is_one_batch():
    assert Shuffled(num_samples=3, batch_size=8, seed=0).steps_per_epoch == 1
    assert balanced([1, 1, 1], p=3, k=4).steps_per_epoch == 1


@given(
    counts=st.lists(st.integers(1, 9), min_size=4, max_size=15),
    p=st.integers(2, 4),
    k=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_every_step_has_p_identities_with_k_images_side_by_side(counts, p, k, seed):
    sampler = balanced(counts, p, k, seed)
    for step in steps(sampler):
        groups = step.reshape(p, k)
        identities = sampler.labels[groups]
        assert (identities == identities[:, :1]).all()
        assert len(set(identities[:, 0])) == p
        for group, identity in zip(groups, identities[:, 0], strict=True):
            # no image twice while the identity has another
            most = max(Counter(group.tolist()).values())
            assert most == -(-k // counts[identity])


def test_identities_are_seen_equally_often_however_many_images_they_have():
    sampler = balanced([40, 2, 2, 2, 2, 2, 2, 2], p=2, k=3)
    first = sampler.labels[steps(sampler)[:, ::3]]
    assert first.shape == (9, 2)  # 54 samples make 9 steps of 6
    seen = Counter(first.reshape(-1).tolist())
    assert set(seen) == set(range(8))
    assert max(seen.values()) - min(seen.values()) <= 1


def test_an_identity_shows_all_its_images_before_it_repeats_one():
    # 6 images and 2 a visit: three visits show each once. 5 identities, 2 a step, 4 of 5 a round.
    sampler = balanced([6] * 5, p=2, k=2)
    images = sampler.epoch(0).reshape(-1, 2)
    for identity in range(5):
        shown = images[sampler.labels[images[:, 0]] == identity].reshape(-1)
        for start in range(0, len(shown), 6):
            window = shown[start : start + 6]
            assert len(set(window.tolist())) == len(window)


def test_a_balanced_split_is_shown_once_an_epoch():
    sampler = balanced([4] * 6, p=3, k=2)  # 24 samples, 4 steps: two rounds of two visits
    assert sorted(sampler.epoch(0)) == list(range(24))


def test_an_epoch_costs_what_a_plain_epoch_costs():
    sampler = balanced([5] * 10, p=4, k=3)
    assert sampler.batch_size == 12
    assert sampler.steps_per_epoch == 50 // 12


def test_seed_and_epoch_decide():
    one = balanced([5] * 10, p=4, k=3)
    np.testing.assert_array_equal(one.epoch(2), balanced([5] * 10, p=4, k=3).epoch(2))
    assert (one.epoch(2) != one.epoch(3)).any()
    assert (one.epoch(2) != balanced([5] * 10, p=4, k=3, seed=1).epoch(2)).any()


def test_more_identities_a_batch_than_there_are():
    with pytest.raises(ValueError, match="4 identities a batch, found 3"):
        balanced([2, 2, 2], p=4, k=2)


LABELS = np.repeat(np.arange(6), 4)


class Pixels:
    """One pixel per sample, whose value is the sample's position."""

    def __len__(self):
        return len(LABELS)

    def __getitem__(self, indices):
        return (indices.astype(np.uint8).reshape(-1, 1, 1, 1),)


def batches(rank=0, world_size=1):
    return Batches(
        source=Pixels(),
        labels=LABELS,
        sampler=IdentityBalanced(
            labels=LABELS, identities_per_batch=4, images_per_identity=3, seed=5
        ),
        batch_size=12,
        augment=Augment(crop_padding=0, flip=False, erasing=0, fill=(), randaugment=0, mix=None),
        seed=5,
        rank=rank,
        world_size=world_size,
        device=torch.device("cpu"),
    )


def test_a_view_holds_the_samples_its_indices_name():
    for view in batches().epoch(0):
        assert torch.equal((view.inputs[0].flatten() * 255).round().long(), view.indices)
        assert view.targets.tolist() == LABELS[view.indices].tolist()
        assert len(view.indices) == 12


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_a_step_by_whole_identities(world_size):
    parts = [list(batches(rank, world_size).epoch(1)) for rank in range(world_size)]
    for step, whole in enumerate(batches().epoch(1)):
        together = torch.cat([part[step].indices for part in parts])
        assert torch.equal(together, whole.indices)
        for part in parts:
            identities = part[step].targets.reshape(-1, 3)
            assert (identities == identities[:, :1]).all()
            assert len(identities) == 4 // world_size


def test_an_epoch_continues_where_it_was_left():
    all_steps = [view.indices.tolist() for view in batches().epoch(3)]
    assert [view.indices.tolist() for view in batches().epoch(3, first_step=1)] == all_steps[1:]
