import numpy as np
import torch

from edgekd.distill.methods.cdd.mask import (
    Pairs,
    dispensability,
    dispensable,
    neighbour_pairs,
)


def by_the_book(teacher, student, gallery, num_neighbours, ratio):
    """The rule as it is written: one image, one neighbour, one intersection at a time."""
    teacher, student, gallery = (
        v / np.linalg.norm(v, axis=1, keepdims=True) for v in (teacher, student, gallery)
    )
    chosen = set(range(teacher.shape[1]))
    for t, s in zip(teacher, student, strict=True):
        for neighbour in np.argsort(-(gallery @ t))[:num_neighbours]:
            contribution = np.abs(gallery[neighbour] * s)
            low = np.argsort(contribution)[: int(ratio * len(s))]
            chosen &= set(low.tolist())
    return chosen


def test_the_vectorised_rule_is_the_rule():
    rng = np.random.default_rng(0)
    for trial in range(20):
        strength = rng.random(8) ** 6 + 0.01  # a few channels matter, as in a trained network
        teacher, student, others = (rng.normal(size=(n, 8)) * strength for n in (3, 3, 9))
        gallery = np.concatenate([teacher, others])
        pairs = neighbour_pairs(
            torch.tensor(teacher),
            torch.tensor(student),
            torch.tensor(gallery / np.linalg.norm(gallery, axis=1, keepdims=True)),
            num_neighbours=2,
        )
        found = dispensable(pairs, num_low=4).nonzero().flatten().tolist()
        assert set(found) == by_the_book(teacher, student, gallery, 2, 0.5), trial


def test_the_first_neighbour_of_an_image_is_the_image_itself():
    teacher = torch.eye(3)
    pairs = neighbour_pairs(teacher, teacher, teacher, num_neighbours=1)
    torch.testing.assert_close(pairs.contributions[:, 0], torch.eye(3))


def test_neighbours_can_be_kept_within_the_class():
    teacher = torch.tensor([[1.0, 0.1], [1.0, 0.0], [0.0, 1.0]])
    unit = torch.nn.functional.normalize(teacher, dim=1)
    labels = torch.tensor([0, 1, 0])
    same = labels[:, None] == labels[None, :]
    pairs = neighbour_pairs(teacher, teacher, unit, num_neighbours=2, same_class=same)
    # image 0 meets itself and image 2, not image 1, which is nearer; image 1 is alone in its class
    torch.testing.assert_close(pairs.contributions[0, 1], unit[2] * unit[0])
    assert pairs.is_pair.tolist() == [[True, True], [True, False], [True, True]]


def test_a_pair_that_does_not_exist_has_no_say():
    contributions = torch.tensor([[[0.1, 0.2, 0.9], [0.9, 0.8, 0.0]]])
    both = Pairs(contributions=contributions, is_pair=torch.tensor([[True, True]]))
    alone = Pairs(contributions=contributions, is_pair=torch.tensor([[True, False]]))
    assert dispensable(both, num_low=2).tolist() == [False, True, False]
    assert dispensable(alone, num_low=2).tolist() == [True, True, False]


def test_removed_channels_leave_the_choice_among_the_rest_as_it_was():
    """Zeros are the smallest contributors: taking them away takes as many places away."""
    generator = torch.Generator().manual_seed(0)
    teacher, student = (torch.rand(4, 8, generator=generator) for _ in range(2))
    gone, left = torch.tensor([2, 5]), torch.tensor([0, 1, 3, 4, 6, 7])
    student[:, gone] = 0
    whole = neighbour_pairs(teacher, student, teacher, num_neighbours=2)
    narrow = neighbour_pairs(teacher, student[:, left], teacher, num_neighbours=2, channels=left)
    assert torch.equal(dispensable(whole, num_low=4)[left], dispensable(narrow, num_low=2))


def test_dispensability_counts_how_often_and_how_clearly():
    contributions = torch.tensor([[[0.1, 0.2, 0.3, 0.4]], [[0.2, 0.1, 0.3, 0.4]]])
    pairs = Pairs(contributions=contributions, is_pair=torch.ones(2, 1, dtype=torch.bool))
    everything = torch.ones(4, dtype=torch.bool)
    # ranks 0 and 1 twice for the first two, 2 and 3 for the others; half of four is small
    expected = torch.tensor([1 + 1 - 0.125, 1 + 1 - 0.125, 1 - 0.5, 1 - 0.75])
    torch.testing.assert_close(dispensability(pairs, mask=everything, full=4, ratio=0.5), expected)


def test_lost_channels_count_as_the_smallest_whatever_they_contribute():
    contributions = torch.tensor([[[0.9, 0.9, 0.4, 0.3]]])
    pairs = Pairs(contributions=contributions, is_pair=torch.ones(1, 1, dtype=torch.bool))
    mask = torch.tensor([False, True, True, True])
    found = dispensability(pairs, mask=mask, full=4, ratio=0.5)
    # the lost one has place 0; of four places two are small
    torch.testing.assert_close(found[1:], torch.tensor([1 - 0.75, 1 - 0.5, 1 + 1 - 0.25]))


def test_a_removed_channel_is_worth_as_much_as_a_masked_one():
    contributions = torch.rand(3, 2, 6, generator=torch.Generator().manual_seed(0))
    everywhere = torch.ones(3, 2, dtype=torch.bool)
    mask = torch.tensor([True, False, True, True, False, True])
    masked = dispensability(
        Pairs(contributions=contributions, is_pair=everywhere), mask=mask, full=6, ratio=0.5
    )
    removed = dispensability(
        Pairs(contributions=contributions[..., mask], is_pair=everywhere),
        mask=torch.ones(4, dtype=torch.bool),
        full=6,
        ratio=0.5,
    )
    assert torch.equal(masked[mask], removed)
