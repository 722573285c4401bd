import pytest
import torch

from edgekd.students.residual import BLOCKS, BasicBlock, Bottleneck


def num_params(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_by_hand():
    # 3x3 kernels 8 -> 5 -> 8, two numbers per channel of a norm, and no projection
    assert num_params(BasicBlock(8, 5, 8, 1)) == 9 * (8 * 5 + 5 * 8) + 2 * (5 + 8)
    # 1x1 of 8 -> 4, 3x3 of 4 -> 3, 1x1 of 3 -> 16, their norms, a projection 8 -> 16 with its own
    expected = 8 * 4 + 9 * 4 * 3 + 3 * 16 + 2 * (4 + 3 + 16) + 8 * 16 + 2 * 16
    assert num_params(Bottleneck(8, 3, 16, 1)) == expected


@pytest.mark.parametrize("name", BLOCKS)
def test_a_branch_of_zeros_leaves_the_shortcut(name):
    block = BLOCKS[name](8, 3, 8, 1).eval()
    last = block.bn2 if name == "basic" else block.bn3
    torch.nn.init.zeros_(last.weight)
    x = torch.rand(2, 8, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(block(x.clone()), x)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_stride_halves_height_and_width(name):
    assert BLOCKS[name](8, 3, 16, 2)(torch.rand(2, 8, 6, 6)).shape == (2, 16, 3, 3)
