import pytest
import torch
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.distill.losses.features import feature_fit_loss
from edgekd.distill.losses.logits import kd_loss
from edgekd.distill.methods.embedding_kd import EmbeddingDistillation, matching_pairs
from edgekd.distill.methods.kd import LogitDistillation
from edgekd.distill.methods.labels import label_losses
from edgekd.distill.methods.protocol import Batch
from edgekd.distill.methods.table import make_method
from edgekd.errors import ModelError
from edgekd.students.build import build_student, parse_student
from edgekd.students.head import IdentityNetwork
from edgekd.students.taps import pooled_outputs, stage_layers
from edgekd.teachers.protocol import TeacherOutput


def recipe(**changes):
    plan = {"data": "x", "student": "resnet8", "task": "retrieval", "teacher": "t", "method": "kd"}
    return TrainRecipe(**(plan | changes))


def network(width, seed=0):
    torch.manual_seed(seed)
    arch = parse_student(
        "resnet8",
        {"width": width},
        num_classes=3,
        in_channels=3,
        input_size=(8, 8),
        embedding_dim=4,
    )
    return IdentityNetwork(build_student(arch), 3)


def batch(teacher):
    torch.manual_seed(5)
    inputs = torch.randn(6, 3, 8, 8)
    answer = None
    if teacher is not None:
        with torch.no_grad(), pooled_outputs(stage_layers(teacher)) as pooled:
            output = teacher.eval()(inputs)
        answer = TeacherOutput(
            logits=output.logits, embedding=output.embedding, pooled=tuple(pooled)
        )
    targets = torch.tensor([0, 0, 1, 1, 2, 2])
    return Batch(inputs=(inputs,), targets=targets, indices=torch.arange(6), teacher=answer)


def test_the_total_is_the_weighted_sum_of_the_terms():
    weights = {"kl_weight": 0.7, "fit_weight": 0.25, "temperature": 3.0}
    student, given = network(4).eval(), batch(network(4, seed=1))
    plan = recipe(retrieval=weights)
    losses = EmbeddingDistillation(plan).losses(student, given)
    with pooled_outputs(stage_layers(student)) as pooled:
        output = student(*given.inputs)
    labels = label_losses(output, given.targets, plan)
    kl = kd_loss(output.logits, given.teacher.logits, temperature=3.0)
    fit = feature_fit_loss(given.teacher.pooled, pooled)
    expected = sum(labels.values()) + 0.7 * kl + 0.25 * fit
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.terms["fit_loss"].item() == pytest.approx(fit.item(), rel=1e-5)
    assert losses.terms.keys() == {"label_loss", "triplet_loss", "kd_loss", "fit_loss"}


def test_a_student_that_is_its_teacher_has_label_losses_only():
    student = network(4).eval()
    losses = EmbeddingDistillation(recipe()).losses(student, batch(student))
    assert losses.terms["kd_loss"].item() == pytest.approx(0.0, abs=1e-6)
    assert losses.terms["fit_loss"].item() == pytest.approx(0.0, abs=1e-6)


def test_features_reach_the_student_below_its_head():
    student, given = network(4), batch(network(4, seed=1))
    plan = recipe(retrieval={"kl_weight": 0.0, "fit_weight": 1.0})
    losses = EmbeddingDistillation(plan).losses(student, given)
    (gradient,) = torch.autograd.grad(
        losses.total, student.network.backbone.stages[0][0].conv1.weight
    )
    assert gradient.abs().sum() > 0


def test_a_narrower_student_fits_no_features():
    losses = EmbeddingDistillation(recipe()).losses(network(2), batch(network(4)))
    assert "fit_loss" not in losses.terms
    assert "kd_loss" in losses.terms


def test_stages_are_paired_from_the_last_backwards():
    teacher = [torch.full((2, n), 0.0) for n in (9, 4, 5, 6)]
    student = [torch.full((2, n), 1.0) for n in (4, 7, 6)]
    widths = [t.shape[1] for t, _ in matching_pairs(teacher, student)]
    assert widths == [6, 4]  # 6 with 6, 5 with 7 not, 4 with 4; the teacher's 9 is left over


def test_without_a_weight_the_teacher_is_asked_for_no_features():
    plan = recipe(retrieval={"fit_weight": 0.0})
    method = EmbeddingDistillation(plan)
    assert method.teacher_needs == {"logits"}
    assert EmbeddingDistillation(recipe()).teacher_needs == {"logits", "pooled"}
    losses = method.losses(network(4), batch(network(4, seed=1)))
    assert "fit_loss" not in losses.terms


def test_the_stages_are_found_inside_wrappers():
    student, given = network(4), batch(network(4, seed=1))

    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x):
            return self.module(x)

    losses = EmbeddingDistillation(recipe()).losses(Wrapper(student), given)
    assert "fit_loss" in losses.terms


def test_kd_is_chosen_by_the_task():
    assert isinstance(make_method(recipe()), EmbeddingDistillation)
    assert isinstance(make_method(recipe(task="classification")), LogitDistillation)


def test_a_teacher_is_needed():
    with pytest.raises(ModelError, match="add --teacher"):
        make_method(recipe(teacher=None))
    with pytest.raises(ValueError, match="no teacher output"):
        EmbeddingDistillation(recipe()).losses(network(4), batch(None))
