import numpy as np
import pytest
import torch

from edgekd.distill.losses.triplet import triplet_loss

POINTS = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0], [6.0, 8.0]])
PAIRS = torch.tensor([0, 0, 1, 1])


def test_by_hand():
    # Distances: 01 = 3, 02 = 4, 03 = 10, 12 = 5, 13 = sqrt(9 + 64), 23 = sqrt(36 + 16).
    # own 0: 3 (1), other: 4 (2);   own 1: 3, other 5;
    # own 2: sqrt 52, other 4;      own 3: sqrt 52, other sqrt 73.
    own, far = 52**0.5, 73**0.5
    expected = (max(0, 3 - 4 + 2) + max(0, 3 - 5 + 2) + own - 4 + 2 + max(0, own - far + 2)) / 4
    assert triplet_loss(POINTS, PAIRS, margin=2.0).item() == pytest.approx(expected)


def test_without_a_margin_only_wrong_orders_cost():
    apart = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    assert triplet_loss(apart, PAIRS, margin=0.0).item() == 0.0
    # 9 is the least distance between the two, 1 the largest within: a margin of 8 is just free.
    assert triplet_loss(apart, PAIRS, margin=8.0).item() == 0.0
    assert triplet_loss(apart, PAIRS, margin=9.0).item() == pytest.approx((0 + 1 + 1 + 0) / 4)


def test_moving_or_turning_all_features_changes_nothing():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.normal(size=(12, 5)))
    identities = torch.arange(12) % 3
    turn = torch.from_numpy(np.linalg.qr(rng.normal(size=(5, 5)))[0])
    plain = triplet_loss(features, identities, margin=0.3)
    moved = triplet_loss(features @ turn + 7.0, identities, margin=0.3)
    assert moved.item() == pytest.approx(plain.item(), rel=1e-4)


def test_equal_samples_give_the_margin_and_no_nan():
    features = torch.zeros(4, 3, requires_grad=True)
    loss = triplet_loss(features, PAIRS, margin=0.35)
    loss.backward()
    assert loss.item() == pytest.approx(0.35)
    assert features.grad.tolist() == [[0.0] * 3] * 4


def test_a_sample_alone_with_its_identity_is_its_own_farthest():
    points = torch.tensor([[0.0], [1.0]])
    assert triplet_loss(points, torch.tensor([0, 1]), margin=1.5).item() == pytest.approx(0.5)


def test_without_another_identity_there_is_nothing_to_keep_away_from():
    features = POINTS.clone().requires_grad_()
    loss = triplet_loss(features, torch.zeros(4, dtype=torch.int64), margin=1.0)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.isfinite(features.grad).all()


def test_gradients_are_those_of_the_distances():
    # Only sample 1 breaks the margin: d(1, 0) - d(1, 2) + 1.5 = 1 - 2 + 1.5. Its gradient is
    # (direction away from 0) - (direction away from 2) = 1 + 1, over 3 anchors.
    points = torch.tensor([[0.0], [1.0], [3.0]], requires_grad=True)
    loss = triplet_loss(points, torch.tensor([0, 0, 1]), margin=1.5)
    loss.backward()
    assert loss.item() == pytest.approx(0.5 / 3)
    assert points.grad[1].item() == pytest.approx(2 / 3)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"expected \(B, F\)"):
        triplet_loss(POINTS, PAIRS[:3], margin=0.1)
    with pytest.raises(ValueError, match="margin must be >= 0"):
        triplet_loss(POINTS, PAIRS, margin=-0.1)
