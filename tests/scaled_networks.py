"""Small networks whose channels can be scaled, and what is found in them."""

import torch
from torch import nn

from edgekd.export.adjustments.groups import scale_groups
from edgekd.export.adjustments.trace import Trace

TOKENS = (1, 5, 6)


IMAGE = (1, 3, 8, 8)


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


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = conv(3, 4), conv(4, 2, 1)
        self.expand, self.project = conv(4, 8, 1), conv(8, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(torch.relu(self.expand(x)))
        return self.head(x)


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = conv(3, 4), conv(4, 2)

    def forward(self, x):
        return self.second(self.first(x) + 1)


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


class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = conv(3, 4), conv(4, 2)

    def forward(self, x):
        x = self.first(x)
        return self.second(x * x)


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


class NormedLast(nn.Module):
    """What a normalisation makes is also added: its factors would be missed there."""

    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x):
        x = self.norm(x)
        return x + self.down(torch.relu(self.up(x)))


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


class Pyramid(nn.Module):
    """Pooling, padding, slices, concatenation and resizing."""

    def __init__(self):
        super().__init__()
        self.first, self.second = conv(3, 4), conv(4, 2)

    def forward(self, x):
        x = nn.functional.pad(torch.relu(self.first(x)), (0, 1, 0, 1))
        x = torch.cat([nn.functional.max_pool2d(x, 3, 2, 1)[:, :, 1:], x[:, :, :4, :5]], dim=2)
        return self.second(nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))
