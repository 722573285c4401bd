import pytest
import torch

from edgekd.config import SoftLabelsRecipe
from edgekd.distill.methods.softening.soft_labels import (
    class_probabilities,
    joint_probabilities,
    soften,
    softening_weight,
)


def test_class_y_under_transformation_k_is_label_4y_plus_k():
    joint = joint_probabilities(class_probabilities(torch.tensor([0, 7]), 10), 4)
    assert joint.shape == (2, 4, 40)
    assert joint.argmax(dim=2).tolist() == [[0, 1, 2, 3], [28, 29, 30, 31]]
    assert torch.equal(joint.sum(dim=2), torch.ones(2, 4))


def test_a_blend_of_classes_blends_joint_labels():
    joint = joint_probabilities(torch.tensor([[0.25, 0.75]]), 2)
    assert joint.tolist() == [[[0.25, 0, 0.75, 0], [0, 0.25, 0, 0.75]]]


def test_the_weight_grows_to_alpha_in_the_last_epoch():
    recipe = SoftLabelsRecipe(weight=0.8)
    assert [softening_weight(recipe, epoch, 4) for epoch in range(4)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8]
    )


def test_softened_labels_by_hand():
    hard = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    past = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    known = torch.tensor([True, False])
    assert soften(hard, past, known, 0.5).tolist() == [[0.75, 0.25], [0.0, 1.0]]
