from types import SimpleNamespace

import pytest
import torch

from edgekd.config import TrainRecipe
from edgekd.distill.methods.none import LabelsOnly
from edgekd.students.head import EmbeddingOutput


def batch(targets):
    return SimpleNamespace(inputs=(torch.zeros(2, 3),), targets=torch.tensor(targets))


def test_classification_has_the_cross_entropy_alone():
    found = LabelsOnly(TrainRecipe(data="d", student="s")).losses(
        lambda x: torch.tensor([[0.0, 0.0], [0.0, 0.0]]), batch([0, 1])
    )
    assert float(found.total) == pytest.approx(0.693147, abs=1e-6)  # ln 2
    assert list(found.terms) == ["label_loss"]


def test_retrieval_adds_the_triplets():
    plan = TrainRecipe(data="d", student="s", task="retrieval", label_smoothing=0.0)
    features = torch.tensor([[0.0], [1.0], [4.0], [4.0]])

    def answer(_inputs):
        return EmbeddingOutput(features=features, embedding=features, logits=torch.zeros(4, 2))

    given = SimpleNamespace(inputs=(torch.zeros(4, 3),), targets=torch.tensor([0, 0, 1, 1]))
    found = LabelsOnly(plan).losses(answer, given)
    # Every positive is at most 1 and every negative at least 3 away: no triplet violates 0.35.
    assert float(found.terms["triplet_loss"]) == 0.0
    assert float(found.total) == pytest.approx(0.693147, abs=1e-6)
