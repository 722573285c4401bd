import pytest
import torch

from edgekd.distill.losses.features import feature_fit_loss


def test_by_hand():
    # Layer one: lengths 5 and 0, mean 2.5. Layer two: lengths 1 and 3, mean 2.
    teacher = [torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[1.0], [0.0]])]
    student = [torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0], [3.0]])]
    assert feature_fit_loss(teacher, student).item() == pytest.approx(4.5)


def test_equal_features_have_no_loss_and_a_gradient_of_zero():
    features = torch.randn(5, 4)
    student = features.clone().requires_grad_()
    loss = feature_fit_loss([features], [student])
    loss.backward()
    assert loss.item() == 0.0
    assert student.grad.eq(0).all()


def test_the_gradient_has_length_one_per_sample_and_none_flows_into_the_teacher():
    teacher = torch.zeros(2, 3, requires_grad=True)
    student = torch.tensor([[0.0, 3.0, 4.0], [0.0, 0.0, 2.0]], requires_grad=True)
    feature_fit_loss([teacher], [student]).backward()
    # d |s| / d s = s / |s|, halved by the mean over two samples
    torch.testing.assert_close(student.grad, torch.tensor([[0.0, 0.3, 0.4], [0.0, 0.0, 0.5]]))
    assert teacher.grad is None


def test_coarse_features_are_compared_in_fp32():
    teacher = torch.full((1, 1), 1024.0, dtype=torch.bfloat16)
    student = torch.full((1, 1), 1025.0)  # bf16 would round it to the teacher's
    assert feature_fit_loss([teacher], [student]).item() == 1.0


@pytest.mark.parametrize(
    ("teacher", "student", "message"),
    [
        ([], [], "as many layers, found 0 and 0"),
        ([torch.zeros(2, 3)], [], "found 1 and 0"),
        ([torch.zeros(2, 3)], [torch.zeros(2, 4)], "layer 0: expected two"),
        ([torch.zeros(2, 3, 1)], [torch.zeros(2, 3, 1)], "layer 0: expected two"),
    ],
)
def test_bad_arguments(teacher, student, message):
    with pytest.raises(ValueError, match=message):
        feature_fit_loss(teacher, student)
