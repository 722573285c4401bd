import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from edgekd.config import TrainRecipe
from edgekd.distill.losses.triplet import triplet_loss
from edgekd.distill.methods.labels import class_indices, detached, label_losses
from edgekd.students.head import EmbeddingOutput

TARGETS = torch.tensor([0, 0, 1, 1])


def recipe(**changes):
    return TrainRecipe(**({"data": "x", "student": "resnet8"} | changes))


def test_logits_have_one_loss():
    logits = torch.randn(4, 2)
    losses = label_losses(logits, TARGETS, recipe(label_smoothing=0.2))
    expected = F.cross_entropy(logits, TARGETS, label_smoothing=0.2)
    assert {name: loss.item() for name, loss in losses.items()} == {"label_loss": expected.item()}


def test_an_embedding_network_is_told_apart_on_logits_and_features():
    torch.manual_seed(0)
    output = EmbeddingOutput(torch.randn(4, 5), torch.randn(4, 3), torch.randn(4, 2))
    plan = recipe(task="retrieval", retrieval={"triplet_margin": 0.7})
    losses = label_losses(output, TARGETS, plan)
    smoothed = F.cross_entropy(output.logits, TARGETS, label_smoothing=0.1)
    margin = triplet_loss(output.features, TARGETS, margin=0.7)
    assert losses["label_loss"].item() == pytest.approx(smoothed.item())
    assert losses["triplet_loss"].item() == pytest.approx(margin.item())


def test_mixed_images_are_of_their_larger_class():
    assert class_indices(TARGETS) is TARGETS
    shares = torch.tensor([[0.3, 0.7, 0.0], [0.6, 0.0, 0.4]])
    assert class_indices(shares).tolist() == [1, 0]


def test_the_history_keeps_no_graph():
    losses = label_losses(torch.randn(4, 2, requires_grad=True), TARGETS, recipe())
    assert losses["label_loss"].requires_grad
    assert not detached(losses)["label_loss"].requires_grad
