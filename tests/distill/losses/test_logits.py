import math

import numpy as np
import pytest
import torch

from edgekd.distill.losses.logits import kd_loss, label_loss


def test_kd_loss_is_zero_for_logits_that_differ_by_a_constant_per_row():
    student = torch.tensor([[1.0, 2.0, 3.0], [0.0, -1.0, 5.0]])
    shifted = student + torch.tensor([[7.0], [-3.0]])
    assert kd_loss(student, shifted, temperature=4.0).item() == pytest.approx(0.0, abs=1e-5)


def test_kd_loss_by_hand_for_two_classes():
    # softmax([ln 3, 0]) = (3/4, 1/4) against (1/2, 1/2): KL = 3/4 ln(3/2) + 1/4 ln(1/2)
    teacher = torch.tensor([[math.log(3.0), 0.0]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert kd_loss(torch.zeros(1, 2), teacher, temperature=1.0).item() == pytest.approx(expected)


def test_kd_loss_agrees_with_numpy_at_a_temperature():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 5, 7))
    temperature = 3.0

    def softmax(x):
        e = np.exp(x / temperature)
        return e / e.sum(axis=1, keepdims=True)

    p, q = softmax(teacher), softmax(student)
    expected = temperature**2 * (p * np.log(p / q)).sum(axis=1).mean()
    found = kd_loss(torch.tensor(student), torch.tensor(teacher), temperature=temperature)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_no_gradient_flows_into_the_teacher():
    student = torch.randn(2, 3, requires_grad=True)
    teacher = torch.randn(2, 3, requires_grad=True)
    kd_loss(student, teacher, temperature=2.0).backward()
    assert teacher.grad is None
    assert student.grad is not None


@pytest.mark.parametrize(
    ("shape", "temperature"), [((2, 3), 0.0), ((2, 3), -1.0), ((2, 4), 1.0), ((3,), 1.0)]
)
def test_kd_loss_refuses_what_it_cannot_mean(shape, temperature):
    with pytest.raises(ValueError, match="found"):
        kd_loss(torch.zeros(2, 3), torch.zeros(shape), temperature=temperature)


def test_label_loss_of_uniform_logits_is_log_k_however_smoothed():
    for smoothing in (0.0, 0.1):
        loss = label_loss(torch.zeros(4, 10), torch.arange(4), label_smoothing=smoothing)
        assert loss.item() == pytest.approx(math.log(10))


def test_label_loss_takes_mixed_targets():
    logits = torch.tensor([[2.0, 0.0]])
    mixed = label_loss(logits, torch.tensor([[0.25, 0.75]]), label_smoothing=0.0).item()
    pure = [label_loss(logits, torch.tensor([k]), label_smoothing=0.0).item() for k in (0, 1)]
    assert mixed == pytest.approx(0.25 * pure[0] + 0.75 * pure[1])
