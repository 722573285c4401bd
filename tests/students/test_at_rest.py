import pytest
import torch
from torch import nn

from edgekd.students.at_rest import at_rest


def network():
    found = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.Linear(2, 2)))
    found[1].eval()  # a part that somebody froze
    return found


def modes(module):
    return [part.training for part in module.modules()]


def test_a_look_moves_no_statistics_and_every_part_is_back_in_its_own_mode():
    module = network()
    with at_rest(module):
        assert modes(module) == [False] * 5
        assert not module(torch.ones(3, 2)).requires_grad
    assert modes(module) == [True, True, False, False, False]
    assert module[0].running_mean.tolist() == [0.0, 0.0]
    assert torch.is_grad_enabled()


def test_also_after_an_error():
    module = network()
    with pytest.raises(ZeroDivisionError), at_rest(module):
        raise ZeroDivisionError
    assert modes(module) == [True, True, False, False, False]
