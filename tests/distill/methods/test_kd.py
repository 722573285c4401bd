import pytest
import torch
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.distill.losses.logits import kd_loss
from edgekd.distill.methods.kd import LogitDistillation
from edgekd.distill.methods.none import LabelsOnly
from edgekd.distill.methods.protocol import Batch
from edgekd.distill.methods.table import make_method
from edgekd.errors import ModelError
from edgekd.teachers.protocol import TeacherOutput


def recipe(**changes):
    return TrainRecipe(**({"data": "x", "student": "resnet8"} | changes))


def batch(teacher_logits=None):
    torch.manual_seed(0)
    return Batch(
        inputs=(torch.randn(6, 4),),
        targets=torch.tensor([0, 1, 2, 0, 1, 2]),
        indices=torch.arange(6),
        teacher=None if teacher_logits is None else TeacherOutput(logits=teacher_logits),
    )


def test_kd_weight_is_the_share_of_the_soft_loss():
    student, answer = nn.Linear(4, 3), torch.randn(6, 3)
    given = batch(answer)
    logits = student(*given.inputs)
    hard = nn.functional.cross_entropy(logits, given.targets)
    soft = kd_loss(logits, answer, temperature=2.0)
    for share in (0.0, 0.25, 1.0):
        kd = {"temperature": 2.0, "kd_weight": share}
        found = LogitDistillation(recipe(teacher="t", kd=kd)).losses(student, given)
        assert found.total.item() == pytest.approx((share * soft + (1 - share) * hard).item())
        assert found.terms.keys() == {"kd_loss", "label_loss"}


def test_a_student_that_answers_like_its_teacher_has_no_soft_loss():
    student = nn.Linear(4, 3)
    answer = student(*batch().inputs).detach()
    found = LogitDistillation(recipe(teacher="t")).losses(student, batch(answer))
    assert found.terms["kd_loss"].item() == pytest.approx(0.0, abs=1e-6)


def test_labels_only_is_cross_entropy():
    student = nn.Linear(4, 3)
    expected = nn.functional.cross_entropy(student(*batch().inputs), batch().targets)
    assert LabelsOnly(recipe()).losses(student, batch()).total.item() == expected.item()


def test_kd_without_a_teacher_is_refused_when_it_is_made():
    with pytest.raises(ModelError, match="add --teacher"):
        make_method(recipe(method="kd"))


@pytest.mark.parametrize(("name", "teacher"), [("none", None), ("kd", "t")])
def test_a_method_without_additions_leaves_the_student_alone(name, teacher):
    method = make_method(recipe(method=name, teacher=teacher))
    student = nn.Linear(2, 2)
    assert method.attach(student) is student
    assert method.finish(student) is student
    assert method.state() == {}
