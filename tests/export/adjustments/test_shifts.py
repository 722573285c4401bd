import pytest
import torch
from torch import nn

from edgekd.export.adjustments.apply import adjusted
from edgekd.export.adjustments.record import Adjustments
from edgekd.export.adjustments.scales import rounded_weights
from edgekd.export.adjustments.shifts import bias_shifts
from edgekd.export.adjustments.trace import Trace


def test_a_bias_gets_what_rounding_takes_away():
    """Steps are 1: of 0.4 nothing is left, and it reads 3 on average; the other row is exact."""
    network = nn.Sequential(nn.Linear(2, 2)).eval().requires_grad_(False)
    network[0].weight.copy_(torch.tensor([[127.0, 0.4], [127.0, 2.0]]))
    samples = [(torch.tensor([[5.0, 2.0]]),), (torch.tensor([[-5.0, 4.0]]),)]
    (shift,) = bias_shifts(Trace(network, samples[0]), samples)
    assert (shift.parameter, shift.levels) == ("0.bias", (127, 0))
    assert shift.step * 127 == pytest.approx(1.2)


def test_a_layer_without_bias_or_without_loss_gets_nothing():
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1)).eval()
    network.requires_grad_(False)
    network[1].weight.copy_(torch.tensor([[127.0, 3.0]]))
    samples = [(torch.ones(1, 2),)]
    assert bias_shifts(Trace(network, samples[0]), samples) == ()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), (1, 3, 7, 9)),
        (nn.Conv2d(4, 4, 3, padding=1, groups=4), (1, 4, 6, 6)),
        (nn.Linear(6, 3), (1, 5, 6)),
    ],
)
def test_after_a_shift_rounded_weights_have_the_mean_of_the_float_layer(layer, shape):
    torch.manual_seed(0)
    network = nn.Sequential(layer).eval().requires_grad_(False)
    samples = [(torch.rand(shape) + i,) for i in range(3)]
    x = torch.cat([sample[0] for sample in samples])
    axis = 1 if x.dim() == 4 else 2
    others = [i for i in range(x.dim()) if i != axis]
    right = network(x).mean(others)
    shifts = bias_shifts(Trace(network, samples[0]), samples)
    stored = adjusted(network, Adjustments(shifts=shifts))
    for rounded in (network, stored):
        rounded[0].weight.copy_(rounded_weights(rounded[0].weight))
    lost = float((network(x).mean(others) - right).abs().max())
    left = float((stored(x).mean(others) - right).abs().max())
    assert left < 0.02 * lost
