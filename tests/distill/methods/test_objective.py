import pytest
import torch

from edgekd.config import TrainRecipe
from edgekd.distill.losses.logits import kd_loss
from edgekd.distill.methods.objective import Objective
from edgekd.students.head import EmbeddingOutput


def test_classification_shares_one_between_labels_and_teacher():
    recipe = TrainRecipe(data="x", student="y", kd={"kd_weight": 0.3, "temperature": 3.0})
    logits, teacher = torch.randn(4, 5), torch.randn(4, 5)
    targets = torch.tensor([0, 1, 2, 3])
    total, terms = Objective(recipe)(logits, targets, teacher)
    hard = torch.nn.functional.cross_entropy(logits, targets)
    soft = kd_loss(logits, teacher, temperature=3.0)
    assert total.item() == pytest.approx((0.7 * hard + 0.3 * soft).item())
    assert terms.keys() == {"label_loss", "kd_loss"}


def test_retrieval_adds_labels_triplets_and_teacher():
    table = {"kl_weight": 0.5, "temperature": 2.0, "triplet_margin": 0.2}
    recipe = TrainRecipe(data="x", student="y", task="retrieval", retrieval=table)
    output = EmbeddingOutput(torch.randn(4, 3), torch.randn(4, 2), torch.randn(4, 5))
    targets, teacher = torch.tensor([0, 0, 1, 1]), torch.randn(4, 5)
    total, terms = Objective(recipe)(output, targets, teacher)
    parts = terms["label_loss"] + terms["triplet_loss"] + 0.5 * terms["kd_loss"]
    assert total.item() == pytest.approx(parts.item())
    assert terms["triplet_loss"] > 0
