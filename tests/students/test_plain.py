import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.students.build import build_student, parse_student
from edgekd.students.count import count_cost
from edgekd.students.plain import require_plain

SHAPES = [(3, 16, 16)]
ARCH = parse_student("resnet8", {"width": 4}, num_classes=5, in_channels=3, input_size=(16, 16))


def test_a_plain_network_costs_what_it_costs():
    network = build_student(ARCH)
    assert require_plain(network, ARCH, SHAPES) == count_cost(build_student(ARCH), SHAPES)
    assert network.training


def test_channels_last_is_the_same_network():
    require_plain(build_student(ARCH).to(memory_format=torch.channels_last), ARCH, SHAPES)


def test_a_weight_that_is_left_over_is_named():
    network = build_student(ARCH)
    network.branch = nn.Linear(2, 2)
    with pytest.raises(ModelError, match=r"branch\.bias, branch\.weight"):
        require_plain(network, ARCH, SHAPES)


def test_an_operator_without_weights_is_found_by_the_answer():
    network = build_student(ARCH)
    network.fc.register_forward_hook(lambda module, inputs, output: output + 1)
    with pytest.raises(ModelError, match="answers otherwise"):
        require_plain(network, ARCH, SHAPES)
