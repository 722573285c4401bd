import math

import pytest
import torch

from edgekd.config import LsskdRecipe
from edgekd.distill.methods.lsskd.branches import LayeredOutput
from edgekd.distill.methods.lsskd.objective import (
    Objective,
    feature_distance,
    head_loss,
    layer_kl,
    marginal_kl,
)
from edgekd.distill.methods.softening.soft_labels import Answers, joint_probabilities


def test_uniform_branches_cost_the_entropy_of_all_joint_labels():
    targets = joint_probabilities(torch.eye(3), 4)[:, :, None].expand(-1, -1, 2, -1)
    loss = head_loss([torch.zeros(12, 12)] * 2, targets, (None, None))
    assert loss.item() == pytest.approx(2 * math.log(12))


def test_views_lie_one_after_another():
    """A branch that is sure of the right joint label of every view costs nothing."""
    targets = joint_probabilities(torch.eye(3), 4)  # (B, M, K * M)
    logits = 100 * targets.transpose(0, 1).flatten(0, 1)
    assert head_loss([logits], targets[:, :, None], (None,)).item() == pytest.approx(0, abs=1e-6)


def test_equal_branches_have_nothing_to_teach():
    joint = torch.randn(4, 12)
    found = layer_kl([joint, joint + 3], (None, None), temperature=3).item()
    assert found == pytest.approx(0, abs=1e-6)
    assert layer_kl([joint], (None,), temperature=3).item() == 0


def test_every_shallower_branch_pays_its_divergence_from_the_deepest():
    """T^2 KL(deepest || branch): at T = 2 logits of 2 ln 3 are odds of 3 to 1."""
    deepest = torch.tensor([[2 * math.log(3), 0.0]])
    flat = torch.zeros(1, 2)
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    found = layer_kl([flat, flat, deepest], (None,) * 3, temperature=2)
    assert found.item() == pytest.approx(2 * 4 * divergence)


def test_the_deepest_branch_gets_no_gradient_from_what_it_teaches():
    shallow, deep = (torch.randn(4, 12, requires_grad=True) for _ in range(2))
    logits = torch.randn(4, 3, requires_grad=True)
    taught = layer_kl([shallow, deep], (None, None), temperature=3)
    (taught + marginal_kl(logits, deep, temperature=3)).backward()
    assert deep.grad is None
    assert shallow.grad.abs().sum() > 0
    assert logits.grad.abs().sum() > 0


def test_the_marginal_sums_over_transformations():
    """Joint probabilities p(y) / M have the marginal p(y)."""
    logits = torch.randn(5, 3)
    joint = logits.repeat_interleave(4, dim=1)
    assert marginal_kl(logits, joint, temperature=1).item() == pytest.approx(0, abs=1e-6)
    target = torch.tensor([[math.log(0.75), math.log(0.25)]])
    found = marginal_kl(torch.zeros(1, 2), target, temperature=1)
    assert found.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_feature_distance_by_hand():
    own, final = torch.tensor([[3.0, 4.0]]), torch.tensor([[5.0, 0.0]])
    assert feature_distance([own], [final], (None,)).item() == pytest.approx(0.16 + 0.64)
    assert feature_distance([own], [7 * own], (None,)).item() == pytest.approx(0, abs=1e-6)


def output():
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return LayeredOutput(
        logits=draw(8, 3),
        joint=(draw(8, 12), draw(8, 12)),
        features=(draw(8, 5),) * 2,
        finals=(draw(8, 5),) * 2,
        present=(None, None),
    )


def test_a_branch_without_its_sensor_pays_nothing():
    """The means are over the rows that are there."""
    rows = torch.tensor([True, False, True, False])
    joint, targets = torch.randn(4, 12), torch.softmax(torch.randn(4, 1, 1, 12), dim=-1)
    deepest, final = torch.randn(4, 12), torch.randn(4, 12)
    assert head_loss([joint], targets, (rows,)) == head_loss([joint[rows]], targets[rows], (None,))
    assert layer_kl([joint, deepest], (rows, None), temperature=3) == layer_kl(
        [joint[rows], deepest[rows]], (None, None), temperature=3
    )
    assert feature_distance([joint], [final], (rows,)) == feature_distance(
        [joint[rows]], [final[rows]], (None,)
    )


TARGETS = Answers(
    torch.eye(3)[[0, 2]],
    joint_probabilities(torch.eye(3)[[0, 2]], 4)[:, :, None].expand(-1, -1, 2, -1),
)


def test_every_term_can_be_switched_off():
    off = LsskdRecipe(kl_weight=0, feature_weight=0)
    total, terms = Objective(recipe=off, label_smoothing=0)(output(), TARGETS, epoch=0)
    assert set(terms) == {"label_loss", "head_loss"}
    torch.testing.assert_close(total, terms["label_loss"] + terms["head_loss"])
    off = LsskdRecipe(head_weight=0, kl_weight=0, feature_weight=0)
    total, terms = Objective(recipe=off, label_smoothing=0)(output(), TARGETS, epoch=0)
    assert total == terms["label_loss"]


def test_the_weights_and_the_ramp():
    recipe = LsskdRecipe(head_weight=2, kl_weight=3, kl_ramp_epochs=4, feature_weight=0.5)
    total, terms = Objective(recipe=recipe, label_smoothing=0)(output(), TARGETS, epoch=1)
    expected = (
        terms["label_loss"]
        + 2 * terms["head_loss"]
        + 3 * 0.5 * (terms["kl_loss"] + terms["marginal_loss"])
        + 0.5 * terms["feature_loss"]
    )
    torch.testing.assert_close(total, expected)


def test_the_label_loss_sees_the_untransformed_samples_alone():
    found = output()
    _, terms = Objective(recipe=LsskdRecipe(), label_smoothing=0)(found, TARGETS, epoch=0)
    expected = torch.nn.functional.cross_entropy(found.logits[:2], torch.tensor([0, 2]))
    torch.testing.assert_close(terms["label_loss"], expected)
