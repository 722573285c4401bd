import pytest
import torch
from torch import nn

from edgekd.export.adjustments.apply import scale
from edgekd.export.adjustments.groups import scale_groups
from edgekd.export.adjustments.record import ChannelScaling
from edgekd.export.adjustments.trace import Trace
from edgekd.export.prepare import fold_batch_norms

IMAGE = (1, 3, 8, 8)
TOKENS = (1, 5, 6)


def conv(inside, outside, size=3, **more):
    return nn.Conv2d(inside, outside, size, padding=size // 2, **more)


def found(network, shape=IMAGE):
    """Weights that make and weights that read, group by group."""
    trace = Trace(network.eval().requires_grad_(False), [torch.zeros(shape)])
    return [
        ([layer.weight for layer in group.producers], [layer.weight for layer in group.consumers])
        for group in scale_groups(trace)
    ]


class Chain(nn.Sequential):
    """Convolution, depthwise convolution, convolution, with an activation in between."""

    def __init__(self, activation=nn.ReLU):
        super().__init__(
            conv(3, 4), activation(), conv(4, 4, groups=4), activation(), conv(4, 2, 1)
        )


def test_a_depthwise_layer_reads_one_group_and_makes_the_next():
    assert found(Chain()) == [(["0.weight"], ["2.weight"]), (["2.weight"], ["4.weight"])]


@pytest.mark.parametrize("activation", [nn.Identity, nn.LeakyReLU, nn.Dropout])
def test_what_carries_factors_through_is_passed(activation):
    assert len(found(Chain(activation))) == 2


@pytest.mark.parametrize(
    "activation", [nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.GELU, nn.Tanh, nn.ELU]
)
def test_what_does_not_is_the_end_of_a_group(activation):
    assert found(Chain(activation)) == []


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = conv(3, 4), conv(4, 2, 1)
        self.expand, self.project = conv(4, 8, 1), conv(8, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(torch.relu(self.expand(x)))
        return self.head(x)


def test_a_sum_ties_the_channels_of_both_sides():
    assert found(Residual()) == [
        (["stem.weight", "project.weight"], ["expand.weight", "head.weight"]),
        (["expand.weight"], ["project.weight"]),
    ]


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = conv(3, 4), conv(4, 2)

    def forward(self, x):
        return self.second(self.first(x) + 1)


def test_a_sum_with_something_unscaled_is_the_end():
    assert found(Constant()) == []


class Gate(nn.Module):
    """Squeeze and excite: the gate reads the channels and multiplies them."""

    def __init__(self):
        super().__init__()
        self.first, self.second = conv(3, 4), conv(4, 2)
        self.reduce, self.restore = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x):
        x = torch.relu(self.first(x))
        gate = self.restore(torch.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return self.second(x * torch.sigmoid(gate))


def test_a_gate_multiplies_scaled_channels():
    assert found(Gate()) == [
        (["first.weight"], ["reduce.weight", "second.weight"]),
        (["reduce.weight"], ["restore.weight"]),
    ]


class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = conv(3, 4), conv(4, 2)

    def forward(self, x):
        x = self.first(x)
        return self.second(x * x)


def test_a_square_is_the_end():
    assert found(Square()) == []


class Head(nn.Module):
    def __init__(self, pooled):
        super().__init__()
        self.conv, self.pooled = conv(3, 4), pooled
        self.head = nn.Linear(4 if pooled else 256, 2)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        if self.pooled:
            x = nn.functional.adaptive_avg_pool2d(x, 1)
        return self.head(x.flatten(1))


def test_channels_are_followed_into_a_vector_but_not_into_pixels():
    assert found(Head(pooled=True)) == [(["conv.weight"], ["head.weight"])]
    assert found(Head(pooled=False)) == []


class Attention(nn.Module):
    """A block that normalises first, as transformers do."""

    def __init__(self):
        super().__init__()
        self.norm, self.second_norm = nn.LayerNorm(6), nn.LayerNorm(6)
        self.q, self.k, self.v = (nn.Linear(6, 6) for _ in range(3))
        self.up, self.down = nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x):
        y = self.norm(x)
        q, k, v = (part(y).view(1, 5, 2, 3).transpose(1, 2) for part in (self.q, self.k, self.v))
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        x = x + y.transpose(1, 2).reshape(1, 5, 6)
        return x + self.down(nn.functional.gelu(self.up(self.second_norm(x))))


def test_a_normalisation_makes_what_linear_layers_read():
    assert found(Attention(), TOKENS) == [
        (["norm.weight"], ["q.weight", "k.weight", "v.weight"]),
        (["second_norm.weight"], ["up.weight"]),
    ]


class NormedLast(nn.Module):
    """What a normalisation makes is also added: its factors would be missed there."""

    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x):
        x = self.norm(x)
        return x + self.down(torch.relu(self.up(x)))


def test_a_norm_that_more_than_linear_layers_read_is_left_alone():
    assert found(NormedLast(), TOKENS) == [(["up.weight"], ["down.weight"])]


def test_a_norm_without_affine_part_has_no_place_for_factors():
    network = nn.Sequential(nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 2))
    assert found(network, TOKENS) == []


class ChannelsLast(nn.Module):
    """A ConvNeXt block: channels move to the end and back, and have a scale of their own."""

    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = conv(3, 4), conv(4, 4, groups=4)
        self.norm, self.up, self.down = nn.LayerNorm(4), nn.Linear(4, 8), nn.Linear(8, 4)
        self.gamma, self.head = nn.Parameter(torch.full((4,), 0.5)), conv(4, 2)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.down(torch.relu(self.up(y))) * self.gamma
        return self.head(x + y.permute(0, 3, 1, 2))


def test_channels_are_followed_through_permutations():
    assert found(ChannelsLast()) == [
        (["stem.weight", "down.weight"], ["depthwise.weight", "head.weight"]),
        (["norm.weight"], ["up.weight"]),
        (["up.weight"], ["down.weight"]),
    ]


class Pyramid(nn.Module):
    """Pooling, padding, slices, concatenation and resizing."""

    def __init__(self):
        super().__init__()
        self.first, self.second = conv(3, 4), conv(4, 2)

    def forward(self, x):
        x = nn.functional.pad(torch.relu(self.first(x)), (0, 1, 0, 1))
        x = torch.cat([nn.functional.max_pool2d(x, 3, 2, 1)[:, :, 1:], x[:, :, :4, :5]], dim=2)
        return self.second(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))


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


def test_blocks_of_timm_with_folded_norms():
    from timm.models._efficientnet_blocks import InvertedResidual

    network = nn.Sequential(
        conv(3, 8), InvertedResidual(8, 8, exp_ratio=2.0), InvertedResidual(8, 12), conv(12, 4, 1)
    ).eval()
    fold_batch_norms(network, [torch.zeros(IMAGE)])
    assert found(network) == [
        (["0.weight", "1.conv_pwl.weight"], ["1.conv_pw.weight", "2.conv_pw.weight"]),
        (["1.conv_pw.weight"], ["1.conv_dw.weight"]),
        (["1.conv_dw.weight"], ["1.conv_pwl.weight"]),
        (["2.conv_pw.weight"], ["2.conv_dw.weight"]),
        (["2.conv_dw.weight"], ["2.conv_pwl.weight"]),
        (["2.conv_pwl.weight"], ["3.weight"]),
    ]


def test_a_transformer_block_of_timm():
    from timm.models.vision_transformer import Block

    assert found(nn.Sequential(Block(6, 2)), TOKENS) == [
        (["0.norm1.weight"], ["0.attn.qkv.weight"]),
        (["0.norm2.weight"], ["0.mlp.fc1.weight"]),
    ]
