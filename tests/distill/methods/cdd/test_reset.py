import pytest
import torch
from torch import nn

from edgekd.distill.methods.cdd.reset import reset_gradient


def indicator(rows):
    parameter = nn.Parameter(torch.tensor(rows)[:, :, None, None])
    parameter.grad = torch.full_like(parameter, 0.5)
    return parameter


def test_a_masked_row_has_only_the_pull_and_a_defended_one_both():
    parameter = indicator([[3.0, 4.0], [0.0, 2.0]])
    reset_gradient(parameter, torch.tensor([False, True]), torch.tensor([0.1, 0.2]))
    expected = torch.tensor([[0.06, 0.08], [0.5, 0.5 + 0.2]])
    torch.testing.assert_close(parameter.grad.flatten(1), expected)


def test_a_row_of_zeros_is_left_alone_and_never_nan():
    parameter = indicator([[0.0, 0.0], [1.0, 0.0]])
    reset_gradient(parameter, torch.tensor([False, False]), torch.tensor([0.1, 0.1]))
    torch.testing.assert_close(parameter.grad.flatten(1), torch.tensor([[0.0, 0.0], [0.1, 0.0]]))


def test_a_masked_row_falls_by_lr_times_lambda_at_every_step():
    parameter = nn.Parameter(torch.eye(2)[:, :, None, None])
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    for step in range(1, 50):
        parameter.grad = torch.zeros_like(parameter)
        reset_gradient(parameter, torch.tensor([False, True]), torch.tensor([0.2, 0.0]))
        optimizer.step()
        assert parameter[0].norm().item() == pytest.approx(1 - step * 0.1 * 0.2, abs=1e-5)
        assert parameter[1].norm().item() == 1.0


def test_a_bias_is_a_row_of_one_entry():
    bias = nn.Parameter(torch.tensor([-2.0, 3.0]))
    bias.grad = torch.ones(2)
    reset_gradient(bias, torch.tensor([False, True]), torch.tensor([0.1, 0.0]))
    torch.testing.assert_close(bias.grad, torch.tensor([-0.1, 1.0]))


def test_a_parameter_outside_the_loss_is_an_error():
    with pytest.raises(ValueError, match="no gradient"):
        reset_gradient(nn.Parameter(torch.ones(1, 1)), torch.tensor([True]), torch.tensor([0.0]))
