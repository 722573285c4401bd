from dataclasses import replace

import numpy as np
import pytest
import torch

from edgekd.distill.augment import Augment
from edgekd.distill.batches import Batches

PLAIN = Augment(crop_padding=0, flip=False, erasing=0, fill=(), randaugment=0, mix=None)
BUSY = Augment(crop_padding=2, flip=True, erasing=0.5, fill=(9,), randaugment=9, mix=None)


class Numbered:
    """Images whose every pixel is their own index."""

    def __init__(self, count):
        self.array = np.broadcast_to(
            np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 8, 8, 3)
        ).copy()

    def __len__(self):
        return len(self.array)

    def __getitem__(self, indices):
        return (self.array[indices],)


def batches(count=20, **changes):
    plan = {
        "source": Numbered(count),
        "labels": np.arange(count, dtype=np.int64) % 4,
        "augment": PLAIN,
        "batch_size": 6,
        "seed": 5,
        "rank": 0,
        "world_size": 1,
        "device": torch.device("cpu"),
    }
    return Batches(**(plan | changes))


def test_an_epoch_shows_full_batches_of_different_samples():
    views = list(batches().epoch(0))
    seen = torch.cat([view.indices for view in views]).tolist()
    assert [len(view.indices) for view in views] == [6, 6, 6]
    assert len(set(seen)) == 18
    later = torch.cat([view.indices for view in batches().epoch(1)]).tolist()
    assert seen != later


def test_images_targets_and_indices_belong_together():
    for view in batches().epoch(0):
        assert view.inputs[0].shape == (6, 3, 8, 8)
        torch.testing.assert_close(view.inputs[0][:, 0, 0, 0] * 255, view.indices.float())
        assert torch.equal(view.targets, view.indices % 4)


def test_a_split_smaller_than_a_batch_is_one_batch():
    views = list(batches(count=4).epoch(0))
    assert len(views) == 1
    assert sorted(views[0].indices.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("augment", [PLAIN, BUSY])
def test_an_epoch_entered_in_the_middle_goes_on_with_the_same_views(augment):
    whole = list(batches(augment=augment).epoch(3))
    rest = list(batches(augment=augment).epoch(3, first_step=1))
    assert len(rest) == 2
    for expected, found in zip(whole[1:], rest, strict=True):
        assert torch.equal(expected.inputs[0], found.inputs[0])
        assert torch.equal(expected.indices, found.indices)


def test_a_share_of_the_steps_is_mixed_until_images_are_only_mirrored():
    def mix(images, targets):
        return images, torch.zeros(len(targets), 2)

    some = replace(PLAIN, mix=mix, mix_share=0.3, plain_from=90)
    dims = [
        [view.targets.dim() for view in batches(augment=some).epoch(epoch)] for epoch in range(100)
    ]
    early = [dim == 2 for epoch in dims[:90] for dim in epoch]
    assert 0.2 < sum(early) / len(early) < 0.4  # .3 of 270
    assert all(dim == 1 for epoch in dims[90:] for dim in epoch)


@pytest.mark.parametrize("augment", [PLAIN, BUSY])
def test_the_shares_of_two_processes_are_the_batch_of_one(augment):
    alone = batches(augment=augment).epoch(0)
    shares = [batches(augment=augment, rank=r, world_size=2).epoch(0) for r in (0, 1)]
    for whole, first, second in zip(alone, *shares, strict=True):
        assert len(first.indices) == len(second.indices) == 3
        assert torch.equal(whole.inputs[0], torch.cat([first.inputs[0], second.inputs[0]]))
        assert torch.equal(whole.targets, torch.cat([first.targets, second.targets]))


def test_views_use_none_of_the_global_random_state():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    list(batches(augment=BUSY).epoch(0))
    assert torch.equal(torch.random.get_rng_state(), before)
