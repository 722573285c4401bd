import pytest
import torch
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.distill.losses.logits import kd_loss
from edgekd.distill.methods.protocol import Batch, Run
from edgekd.distill.methods.recovery import QuantizationRecovery
from edgekd.errors import ModelError
from edgekd.students.quantized import FakeQuantized
from edgekd.teachers.protocol import TeacherOutput


def recipe(**kd):
    return TrainRecipe(data="x", kd={"temperature": 2.0, "kd_weight": 0.75} | kd)


@pytest.fixture
def student():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


@pytest.fixture
def rounding(student):
    network = nn.Linear(4, 3)
    network.load_state_dict(student.state_dict())
    fake = FakeQuantized(network, (torch.randn(2, 4),))
    fake.calibrate(dict.fromkeys(fake.points, (-1.0, 1.0)))
    return fake


def batch(teacher=None):
    inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    return Batch(inputs=(inputs,), targets=targets, indices=torch.arange(6), teacher=teacher)


def test_the_fp32_student_teaches_and_labels_have_their_share(student, rounding):
    method, given = QuantizationRecovery(recipe(), student, task="classification"), batch()
    found = method.losses(rounding, given)
    answer = rounding(*given.inputs)
    soft = kd_loss(answer, student(*given.inputs), temperature=2.0)
    hard = nn.functional.cross_entropy(answer, given.targets)
    assert soft > 0
    assert found.total.item() == pytest.approx((0.75 * soft + 0.25 * hard).item())
    assert found.terms["kd_loss"].item() == pytest.approx(soft.item())
    found.total.backward()
    assert student.weight.grad is None


def test_a_teacher_of_the_loop_goes_before_the_student(student, rounding):
    taught = TeacherOutput(logits=torch.randn(6, 3))
    method = QuantizationRecovery(recipe(kd_weight=1.0), student, task="classification")
    found = method.losses(rounding, batch(taught))
    expected = kd_loss(rounding(*batch().inputs), taught.logits, temperature=2.0)
    assert found.total.item() == pytest.approx(expected.item())


def test_an_embedding_is_pulled_to_that_of_the_student(student, rounding):
    method, given = QuantizationRecovery(recipe(), student, task="retrieval"), batch()
    found = method.losses(rounding, given)
    distance = (rounding(*given.inputs) - student(*given.inputs)).norm(dim=1).mean()
    assert found.total.item() == pytest.approx(distance.item(), rel=1e-5)
    with pytest.raises(ModelError, match="gives no embedding"):
        method.losses(rounding, batch(TeacherOutput(logits=torch.zeros(6, 3))))


def test_ranges_have_their_own_group_and_are_kept_wide(student, rounding):
    method = QuantizationRecovery(recipe(), student, task="classification")
    method.enter(Run(input_shape=(4,), steps_per_epoch=1))
    (group,) = method.parameter_groups(rounding)
    assert group["params"] == [rounding.stretch]
    assert group["weight_decay"] == 0
    with torch.no_grad():
        rounding.stretch.fill_(-1.0)
    method.after_step(rounding)
    assert rounding.stretch.min() > 0


def test_only_a_rounding_network_is_recovered(student):
    method = QuantizationRecovery(recipe(), student, task="classification")
    with pytest.raises(TypeError, match="FakeQuantized"):
        method.after_step(student)
