import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from edgekd.errors import ModelError
from edgekd.students.fake_quantization import fake_quantize, fake_quantize_weights
from edgekd.students.quantized import FakeQuantized


class Residual(nn.Module):
    """A convolution, an activation, another convolution, a sum, a pooling and a classifier."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 1)
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = self.act(self.first(x))
        shortcut = x
        x = self.second(x)
        x += shortcut
        return self.head(self.dropout(self.act(x).mean((2, 3))))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Residual()


@pytest.fixture
def images():
    return torch.randn(6, 2, 5, 5, generator=torch.Generator().manual_seed(1))


def extremes(fake, images):
    found = {}

    def add(name, values):
        low, high = found.get(name, (np.inf, -np.inf))
        found[name] = (min(low, float(values.min())), max(high, float(values.max())))

    fake.observe((images,), add)
    return found


def test_a_tensor_is_rounded_where_a_file_holds_it_in_8_bits(network, images):
    fake = FakeQuantized(network, (images,))
    # the input, the activation (read twice, rounded once), both sides of the sum (the shortcut is
    # that activation again), the activated sum, what the pooling gives, the answer
    assert fake.points == (
        "0: conv2d", "1: conv2d", "2: add", "3: mean", "4: linear", "5: answer",
    )  # fmt: skip


def test_the_forward_pass_is_that_of_rounded_operands(network, images):
    fake = FakeQuantized(network, (images,))
    fake.calibrate(extremes(fake, images))
    limits = [tuple(map(torch.tensor, fake.ranges()[name])) for name in fake.points]

    def rounded(x, number):
        return fake_quantize(x, *limits[number])

    def weights(layer):
        return fake_quantize_weights(layer.weight, axis=0)

    a = F.conv2d(rounded(images, 0), weights(network.first), network.first.bias, padding=1)
    a = rounded(a.relu(), 1)
    b = rounded(F.conv2d(a, weights(network.second), network.second.bias), 2) + a
    pooled = rounded(rounded(b.relu(), 3).mean((2, 3)), 4)
    expected = rounded(F.linear(pooled, weights(network.head), network.head.bias), 5)
    torch.testing.assert_close(fake(images), expected)
    assert (fake(images) - network(images)).abs().max() > 0


def test_observing_shows_the_values_of_the_float_network(network, images):
    fake = FakeQuantized(network, (images,))
    seen = {}
    fake.observe((images,), lambda name, values: seen.update({name: values.copy()}))
    assert tuple(seen) == fake.points
    np.testing.assert_array_equal(seen["0: conv2d"], images.numpy())
    activated = network.first(images).relu().detach().numpy()
    np.testing.assert_allclose(seen["1: conv2d"], activated, atol=1e-6)
    np.testing.assert_allclose(seen["5: answer"], network(images).detach().numpy(), atol=1e-6)


def test_the_network_stays_as_deployed_while_it_is_trained(network, images):
    fake = FakeQuantized(network, (images,)).train()
    assert fake.training
    assert not network.dropout.training


def test_weights_and_ranges_are_learned(network, images):
    fake = FakeQuantized(network.requires_grad_(False), (images,))
    fake.calibrate(dict.fromkeys(fake.points, (-0.5, 0.5)))
    fake(images).square().sum().backward()
    assert all(p.grad is not None for p in fake.parameters())
    assert fake.stretch.grad.abs().max() > 0
    with torch.no_grad():
        fake.stretch[0] = torch.tensor([2.0, -7.0])
    fake.limit_ranges()
    assert fake.ranges()["0: conv2d"] == pytest.approx((-1.0, 0.05))
    assert fake.ranges()["3: mean"] == (-0.5, 0.5)


@pytest.mark.parametrize("bits", [4, 8])
def test_more_bits_err_less(network, images, bits):
    fake = FakeQuantized(network, (images,), weight_bits=bits, activation_bits=bits)
    fake.calibrate(extremes(fake, images))
    error = (fake(images) - network(images)).abs().max().item()
    assert (error > 0.02) == (bits == 4)


def test_a_network_without_operators_of_int8_is_refused(images):
    with pytest.raises(ModelError, match="ReLU computes nothing that int8 is trained for"):
        FakeQuantized(nn.ReLU(), (images,))


class Forgetful(nn.Module):
    """Adds in place and goes on with the tensor it added to, not with what the sum returned."""

    def forward(self, x):
        x = x * 1.0
        x.add_(3.0)
        return x.relu() * 2.0


def test_sums_that_are_lost_on_the_way_are_noticed(images):
    with pytest.raises(ModelError, match="Forgetful changes tensors in place"):
        FakeQuantized(Forgetful(), (images,))


class Fickle(nn.Module):
    def forward(self, x):
        return x * 2.0 if len(x) > 1 else x * 2.0 * 3.0


def test_another_way_for_other_samples_is_refused(images):
    fake = FakeQuantized(Fickle(), (images,))
    fake.calibrate(dict.fromkeys(fake.points, (-1.0, 1.0)))
    with pytest.raises(ModelError, match="another way"):
        fake(images[:1])


def test_a_point_that_is_left_in_float_is_not_rounded(network, images):
    fake = FakeQuantized(network.eval(), (images,), weight_bits=24, activation_bits=2)
    found = extremes(fake, images)
    fake.calibrate(found)
    exact = network(images)
    assert (fake(images) - exact).abs().max() > 0.01  # four levels for every activation
    others = [name for name in fake.points if name != "4: linear"]
    fake.leave_in_float(others)
    assert fake.ranges() == {"4: linear": pytest.approx(found["4: linear"])}
    with torch.no_grad():
        pooled = network.act(network.second(x := network.act(network.first(images))) + x)
        low, high = (torch.tensor(limit) for limit in found["4: linear"])
        rounded = fake_quantize(pooled.mean((2, 3)), low, high, bits=2)
        expected = F.linear(rounded, network.head.weight, network.head.bias)
    torch.testing.assert_close(fake(images), expected, rtol=1e-4, atol=1e-5)
    fake.leave_in_float(fake.points)
    torch.testing.assert_close(fake(images), exact, rtol=1e-4, atol=1e-5)


class Upsampling(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up = nn.LayerNorm(5), nn.ConvTranspose2d(2, 3, 2, stride=2)

    def forward(self, x):
        return self.up(self.norm(x)).mean((2, 3)) / 3.0


def test_norms_and_quotients_are_rounded_and_transposed_convolutions_have_8_bit_weights(images):
    torch.manual_seed(0)
    network = Upsampling().eval()
    fake = FakeQuantized(network, (images,))
    assert fake.points == ("0: layer_norm", "1: mean", "2: truediv", "3: answer") or (
        fake.points == ("0: layer_norm", "1: mean", "2: div", "3: answer")
    )
    fake.leave_in_float(fake.points)
    with torch.no_grad():
        expected = F.conv_transpose2d(
            network.norm(images),
            fake_quantize_weights(network.up.weight, axis=1),
            network.up.bias,
            stride=2,
        )
        torch.testing.assert_close(fake(images), expected.mean((2, 3)) / 3.0)
