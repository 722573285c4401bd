import pytest
import torch
from scaled_networks import (
    IMAGE,
    TOKENS,
    Attention,
    Chain,
    ChannelsLast,
    Constant,
    Gate,
    Head,
    NormedLast,
    Pyramid,
    Residual,
    Square,
    found,
)
from torch import nn

from edgekd.export.adjustments.apply import scale
from edgekd.export.adjustments.groups import scale_groups
from edgekd.export.adjustments.record import ChannelScaling
from edgekd.export.adjustments.trace import Trace


@pytest.mark.parametrize("activation", [nn.Identity, nn.LeakyReLU, nn.Dropout])
def test_what_carries_factors_through_is_passed(activation):
    assert len(found(Chain(activation))) == 2


@pytest.mark.parametrize(
    "activation", [nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.GELU, nn.Tanh, nn.ELU]
)
def test_what_does_not_is_the_end_of_a_group(activation):
    assert found(Chain(activation)) == []


def test_a_sum_with_something_unscaled_is_the_end():
    assert found(Constant()) == []


def test_a_square_is_the_end():
    assert found(Square()) == []


def test_channels_are_followed_into_a_vector_but_not_into_pixels():
    assert found(Head(pooled=True)) == [(["conv.weight"], ["head.weight"])]
    assert found(Head(pooled=False)) == []


def test_channels_are_followed_through_permutations():
    assert found(ChannelsLast()) == [
        (["stem.weight", "down.weight"], ["depthwise.weight", "head.weight"]),
        (["norm.weight"], ["up.weight"]),
        (["up.weight"], ["down.weight"]),
    ]


@pytest.mark.parametrize(
    ("make", "shape", "count"),
    [
        (Chain, IMAGE, 2), (Residual, IMAGE, 2), (Gate, IMAGE, 2), (ChannelsLast, IMAGE, 3),
        (Pyramid, IMAGE, 1), (Attention, TOKENS, 2), (NormedLast, TOKENS, 1),
        (lambda: Head(pooled=True), IMAGE, 1),
    ],
)  # fmt: skip
def test_any_factors_leave_the_answers_as_they_were(make, shape, count):
    torch.manual_seed(0)
    network = make().eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_()
    x = torch.randn(shape)
    before = network(x)
    groups = scale_groups(Trace(network, [x]))
    assert len(groups) == count
    for group in groups:
        steps = torch.randint(-24, 25, (group.channels,)).tolist()
        scale(
            network,
            ChannelScaling(
                kind="equalization",
                divided=tuple(name for layer in group.producers for name in layer.parameters),
                multiplied=tuple(layer.weight for layer in group.consumers),
                eighths=tuple(steps),
            ),
        )
    torch.testing.assert_close(network(x), before, rtol=1e-4, atol=1e-4 * float(before.abs().max()))
