import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.students.build import build_student, parse_student
from edgekd.students.stages import find_chains, outputs_of


def student(name, size=32, **options):
    arch = parse_student(name, options, num_classes=5, in_channels=3, input_size=(size, size))
    return build_student(arch)


def test_the_stages_of_a_resnet_and_their_shapes():
    network = student("resnet14", width=4)
    (chain,) = find_chains(network, [torch.zeros(1, 3, 32, 32)])
    assert chain.stages == tuple(network.stages)
    assert chain.shapes == ((4, 32, 32), (8, 16, 16), (16, 8, 8))
    assert chain.tail == (network.stages[2][1],)


@pytest.mark.parametrize(
    ("name", "count"),
    [("timm:mobilenetv3_small_050", 6), ("timm:mobilevit_xxs", 5), ("timm:resnet10t", 4)],
)
def test_timm_stages(name, count):
    (chain,) = find_chains(student(name, size=64), [torch.zeros(1, 3, 64, 64)])
    assert len(chain.stages) == count
    assert all(len(shape) == 3 for shape in chain.shapes)


def test_looking_changes_neither_modes_nor_statistics():
    network = student("resnet8", width=4)
    network.stages[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    find_chains(network, [torch.randn(1, 3, 32, 32)])
    assert network.training
    assert not network.stages[1].training
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())


def test_a_network_without_a_chain_is_refused():
    with pytest.raises(ModelError, match="no stages that run one after another"):
        find_chains(nn.Linear(3, 2), [torch.zeros(1, 3)])


def test_channels_last_are_refused_and_not_taken_for_rows():
    with pytest.raises(ModelError, match="MambaOut keeps channels last"):
        find_chains(student("timm:mambaout_femto", size=64), [torch.zeros(1, 3, 64, 64)])


def test_answers_that_are_overwritten_are_refused():
    class Greedy(nn.Module):
        def __init__(self):
            super().__init__()
            self.stages = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

        def forward(self, x):
            first = self.stages[0](x)
            second = self.stages[1](first)
            first += 1
            return second

    with pytest.raises(ModelError, match="overwrites what its stages answer"):
        find_chains(Greedy(), [torch.zeros(1, 3)])


def test_answers_come_in_the_order_asked_for():
    first, second = nn.Linear(2, 3), nn.Linear(3, 4)
    with outputs_of([second, first]) as found:
        second(first(torch.zeros(1, 2)))
    assert [answer.shape[1] for answer in found] == [4, 3]
