import numpy as np
import pytest
import torch
from torch import nn

from edgekd.export.adjustments.groups import scale_groups
from edgekd.export.adjustments.scales import (
    best_scaling,
    by_activations,
    by_weights,
    rounded_activations,
    rounded_weights,
    steps_of,
    watch,
)
from edgekd.export.adjustments.trace import Trace


def proposed(network, samples):
    """The best scaling of the only group."""
    trace = Trace(network, samples[0])
    (group,) = scale_groups(trace)
    return best_scaling(network, group, watch(trace, [group], samples))


def test_weights_are_as_large_on_either_side():
    made, read = torch.tensor([2.0, 8.0]), torch.tensor([4.0, 1.0])
    factors = by_weights(made, read)
    assert (made / factors).tolist() == pytest.approx((read * factors).tolist())
    # sqrt(2 / 4) and sqrt(8 / 1) are 2 ** -0.5 and 2 ** 1.5; their mean logarithm is 0.5
    assert steps_of(factors) == (-8, 8)


def test_an_outlier_is_shared_with_the_weights():
    values, read = torch.tensor([1.0, 1, 1, 64]), torch.ones(4)
    assert by_activations(values, read, 0.5).tolist() == [1, 1, 1, 8]
    assert by_activations(values, read, 1.0).tolist() == [1, 1, 1, 64]
    # 0, 0, 0 and 24 eighths, less their mean of 6
    assert steps_of(by_activations(values, read, 0.5)) == (-6, -6, -6, 18)


def test_weights_that_are_small_already_take_more():
    values, read = torch.tensor([4.0, 4.0]), torch.tensor([1.0, 0.25])
    assert by_activations(values, read, 0.5).tolist() == [2, 4]


def test_a_dead_channel_keeps_its_size():
    assert steps_of(torch.tensor([0.0, 2.0, float("inf"), float("nan"), 8.0])) == (0, -8, 0, 0, 8)
    assert steps_of(torch.zeros(2)) == (0, 0)


def test_factors_are_bounded():
    assert steps_of(torch.tensor([1e-20, 1e20])) == (-56, 56)


def test_rounding_is_that_of_8_bits():
    weight = torch.tensor([[127.0, 0.4, -0.6], [0.0, 0.0, 0.0]])
    assert rounded_weights(weight).tolist() == [[127, 0, -1], [0, 0, 0]]
    x = torch.tensor([-55.0, 0.4, 200.0])  # 255 steps of 1
    assert rounded_activations(x).tolist() == [-55, 0, 200]
    assert rounded_activations(torch.tensor([2.0])).tolist() == [2]  # 0 is in every range


def outlier():
    """A normalisation of 8 features, one of which it makes 64 times as large, and a reader."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 4)).eval().requires_grad_(False)
    network[0].weight[3] = 64.0
    return network


def noise(network, scaled, samples):
    """Of the linear layer at 8 bits, by an independent line of NumPy."""
    total = 0.0
    x = torch.cat([sample[0] for sample in samples])
    values = scaled[0](x).double().numpy().reshape(-1, 8)
    weight = scaled[1].weight.double().numpy()
    low, high = min(values.min(), 0), max(values.max(), 0)
    step = (high - low) / 255
    rounded = np.rint((values - low) / step) * step + low
    steps = np.abs(weight).max(1, keepdims=True) / 127
    stored = np.rint(weight / steps) * steps
    right = network(x).numpy().reshape(-1, 4) - network[1].bias.numpy()
    total += np.square(rounded @ stored.T - right).sum() / np.square(right).sum()
    return total


def test_an_outlier_of_a_normalisation_is_smoothed():
    from edgekd.export.adjustments.apply import adjusted
    from edgekd.export.adjustments.record import Adjustments

    network = outlier()
    samples = [(torch.randn(1, 5, 8),) for _ in range(6)]
    found = proposed(network, samples)
    assert (found.kind, found.divided, found.multiplied) == (
        "smoothing",
        ("0.weight", "0.bias"),
        ("1.weight",),
    )
    assert found.eighths[3] == max(found.eighths)
    smooth = adjusted(network, Adjustments(scalings=(found,)))
    torch.testing.assert_close(smooth(samples[0][0]), network(samples[0][0]), rtol=1e-5, atol=1e-5)
    assert noise(network, smooth, samples) < 0.5 * noise(network, network, samples)


def test_a_chain_whose_channels_differ_is_equalized():
    """Channels that differ by nothing but their size: every rule finds that size."""
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 3, 1))
    network = network.eval().requires_grad_(False)
    sizes = torch.tensor([1.0, 64, 1, 4])
    network[0].weight.copy_(sizes.view(-1, 1, 1, 1))
    network[0].bias.copy_(sizes)
    network[2].weight.copy_((1 / sizes).view(1, -1, 1, 1).expand(3, 4, 1, 1))
    found = proposed(network, [(torch.linspace(-1, 1, 36).view(1, 1, 6, 6),)])
    assert (found.kind, found.divided, found.multiplied) == (
        "equalization",
        ("0.weight", "0.bias"),
        ("2.weight",),
    )
    # 0, 48, 0 and 16 eighths of an octave, less their mean of 16
    assert found.eighths == (-16, 32, -16, 0)


def test_channels_of_one_size_are_left_alone():
    network = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2, bias=False)).eval()
    network.requires_grad_(False)
    network[1].weight.copy_(torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1]]))
    samples = [
        (torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(i)),) for i in range(4)
    ]
    assert proposed(network, samples) is None
