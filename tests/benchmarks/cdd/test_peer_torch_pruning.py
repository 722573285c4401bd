import pytest
import torch
from torch import nn

from edgekd.students.build import build_student, parse_student
from edgekd.students.count import count_cost

pytest.importorskip("torch_pruning")

from benchmarks.cdd.peer_torch_pruning import prune, remove

SHAPE = (3, 16, 16)


def network():
    torch.manual_seed(0)
    arch = parse_student(
        "resnet8", {"width": 16}, num_classes=5, in_channels=3, input_size=SHAPE[1:]
    )
    module = build_student(arch)
    block = module.stages[0][0]
    with torch.no_grad():  # one ranking of all layers would take these twelve of sixteen
        block.conv1.weight[:12] *= 1e-3
        block.conv2.weight[:, :12] *= 1e-3
        block.bn1.weight[:12] *= 1e-3
    return module


def widths(module):
    return [part.out_channels for part in module.modules() if isinstance(part, nn.Conv2d)]


def test_every_layer_loses_the_same_share_until_the_macs_are_just_there():
    dense, pruned = network(), network()
    prune(pruned, SHAPE, 0.35)
    shares = [new / old for new, old in zip(widths(pruned), widths(dense), strict=True)]
    assert max(shares) - min(shares) < 1 / 16  # one channel of the narrowest layer
    macs = [count_cost(module, [SHAPE]).macs for module in (pruned, dense)]
    assert 0.35 <= macs[0] / macs[1] < 0.40
    assert pruned(torch.zeros(2, *SHAPE)).shape == (2, 5)
    assert pruned.training


def test_of_equal_weights_the_same_is_left():
    first, second = network(), network()
    for module in (first, second):
        prune(module, SHAPE, 0.5)
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_the_channels_of_least_norm_go():
    module = network()
    norm = module.stages[0][0].bn1
    with torch.no_grad():
        norm.bias.copy_(torch.arange(16))
    remove(module, SHAPE, 0.75)
    assert norm.bias.tolist() == [12, 13, 14, 15]
