import pytest
import torch
from torch import nn

from edgekd.export.prepare import (
    Deployed,
    InputNormalisation,
    fold_batch_norms,
    prepare_for_export,
    sample_input,
)
from edgekd.records import ImageInput, SignalInput

IMAGE = ImageInput(channels=3, height=6, width=5, mean=(0.2, 0.4, 0.6), std=(0.5, 0.25, 0.125))


def with_statistics(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.running_mean.normal_(generator=generator)
            part.running_var.uniform_(0.5, 2, generator=generator)
            if part.affine:
                part.weight.data.uniform_(0.5, 2, generator=generator)
                part.bias.data.normal_(generator=generator)
    return network.eval()


def count_norms(network):
    return sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in network.modules())


class Shared(nn.Module):
    """One convolution used twice: each use has a norm of its own, so neither can be folded."""

    def __init__(self):
        super().__init__()
        self.conv, self.first, self.second = (
            nn.Conv2d(3, 3, 1),
            nn.BatchNorm2d(3),
            nn.BatchNorm2d(3),
        )

    def forward(self, x):
        return self.second(self.conv(self.first(self.conv(x))))


class ReadTwice(nn.Module):
    """The convolution's raw output is also added: folding would change the sum."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y) + y


class LooksAtShape(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.norm(y).reshape(y.shape[0], y.size(1), -1)


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.BatchNorm2d(6, affine=False)),
        nn.Sequential(nn.ConvTranspose2d(3, 4, 2, stride=2), nn.BatchNorm2d(4, eps=0.1)),
        nn.Sequential(nn.Flatten(), nn.Linear(90, 7), nn.BatchNorm1d(7)),
        LooksAtShape(),
    ],
)
def test_folding_leaves_one_layer_and_the_same_function(network):
    with_statistics(network)
    x = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    expected = network(x)
    assert fold_batch_norms(network, [x]) == 1
    assert count_norms(network) == 0
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)


def test_a_folded_weight_is_gamma_over_sigma_times_the_weight():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0)).eval()
    network[0].weight.data.fill_(3.0)
    network[0].bias.data.fill_(5.0)
    network[1].running_mean.fill_(1.0)
    network[1].running_var.fill_(4.0)
    network[1].weight.data.fill_(6.0)
    network[1].bias.data.fill_(7.0)
    fold_batch_norms(network, [torch.zeros(1, 1, 2, 2)])
    assert network[0].weight.item() == 9.0  # 3 * 6 / 2
    assert network[0].bias.item() == 19.0  # (5 - 1) * 6 / 2 + 7


@pytest.mark.parametrize("kind", [Shared, ReadTwice])
def test_what_cannot_be_folded_exactly_is_left_alone(kind):
    network = with_statistics(kind())
    x = torch.randn(2, 3, 6, 5)
    expected, norms = network(x), count_norms(network)
    assert fold_batch_norms(network, [x]) == 0
    assert count_norms(network) == norms
    assert torch.equal(network(x), expected)


def test_a_norm_with_an_activation_keeps_the_activation():
    from timm.layers import BatchNormAct2d

    network = with_statistics(nn.Sequential(nn.Conv2d(3, 4, 1), BatchNormAct2d(4)))
    x = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(1))
    expected = network(x)
    assert fold_batch_norms(network, [x]) == 1
    assert count_norms(network) == 0
    assert float(network(x).min()) == 0.0  # the ReLU is still there
    torch.testing.assert_close(network(x), expected, rtol=1e-5, atol=1e-5)


class TwoBranches(nn.Module):
    """A re-parameterizable block: two 1 x 1 convolutions whose weights add up."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.a(x) if self.b is None else self.a(x) + self.b(x)

    def reparameterize(self):
        self.a.weight.data += self.b.weight.data
        self.a.bias.data += self.b.bias.data
        self.b = None


def test_branches_are_merged_in_a_copy():
    student = nn.Sequential(TwoBranches()).eval()
    network = prepare_for_export(student, [IMAGE])
    x = torch.randn(2, 3, 6, 5)
    assert network[0].b is None
    assert student[0].b is not None
    torch.testing.assert_close(network(x), student(x))


def test_normalisation_inside_the_graph_is_pixel_over_255_minus_mean_over_std():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    # (0 - 0.2) / 0.5, (0.2 - 0.4) / 0.25, (1 - 0.6) / 0.125
    expected = torch.tensor([-0.4, -0.8, 3.2]).view(1, 3, 1, 1)
    torch.testing.assert_close(InputNormalisation(IMAGE)(pixels), expected)


def test_a_deployed_network_takes_pixels_channel_last():
    deployed = Deployed(nn.Flatten(), [IMAGE], encoding="uint8", channel_last=True)
    pixels = torch.randint(0, 256, (2, 6, 5, 3), dtype=torch.uint8)
    mean, std = torch.tensor(IMAGE.mean), torch.tensor(IMAGE.std)
    expected = ((pixels / 255 - mean) / std).permute(0, 3, 1, 2).flatten(1)
    torch.testing.assert_close(deployed(pixels), expected, rtol=1e-5, atol=1e-5)


def test_sample_inputs_have_the_files_shape_and_type():
    assert sample_input(IMAGE, "uint8", channel_last=True).shape == (1, 6, 5, 3)
    assert sample_input(IMAGE, "uint8", channel_last=True).dtype == torch.uint8
    assert sample_input(IMAGE, "float32", channel_last=False).shape == (1, 3, 6, 5)
    signal = SignalInput(name="wrist", channels=2, length=9, mean=(0.0,) * 2, std=(1.0,) * 2)
    assert sample_input(signal, "uint8", channel_last=True).shape == (1, 2, 9)
    assert sample_input(signal, "uint8", channel_last=True).dtype == torch.float32
