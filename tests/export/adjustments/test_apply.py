import pytest
import torch
from torch import nn

from edgekd.errors import ConfigError
from edgekd.export.adjustments.apply import adjusted, factors, read_factors
from edgekd.export.adjustments.record import AS_IT_IS, Adjustments, BiasShift, ChannelScaling


def chain():
    """Two channels: made by weights 2 and 8, read by weights 4 and 1."""
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1)).eval()
    network.requires_grad_(False)
    network[0].weight.copy_(torch.tensor([2.0, 8.0]).view(2, 1, 1, 1))
    network[0].bias.copy_(torch.tensor([1.0, 4.0]))
    network[2].weight.copy_(torch.tensor([4.0, 1.0]).view(1, 2, 1, 1))
    return network


def scaling(eighths=(-8, 8), divided=("0.weight", "0.bias"), multiplied=("2.weight",)):
    return Adjustments(
        scalings=(
            ChannelScaling(
                kind="equalization", divided=divided, multiplied=multiplied, eighths=eighths
            ),
        )
    )


def test_factors_leave_the_maker_and_enter_the_reader():
    network = chain()
    changed = adjusted(network, scaling())  # factors 1/2 and 2
    assert changed[0].weight.flatten().tolist() == [4, 4]
    assert changed[0].bias.tolist() == [2, 2]
    assert changed[2].weight.flatten().tolist() == [2, 2]
    assert network[0].weight.flatten().tolist() == [2, 8]  # the network itself stays
    x = torch.linspace(-1, 1, 9).view(1, 1, 3, 3)
    assert torch.equal(changed(x), network(x))  # powers of two lose nothing


def test_nothing_to_change_copies_nothing():
    network = chain()
    assert adjusted(network, AS_IT_IS) is network


def test_a_shift_is_added_to_its_bias():
    shift = BiasShift(parameter="0.bias", step=0.5, levels=(1, -2))
    assert adjusted(chain(), Adjustments(shifts=(shift,)))[0].bias.tolist() == [1.5, 3]


def test_factors_are_eighths_of_an_octave():
    assert factors((0, 8, -16, 4)).tolist() == pytest.approx([1, 2, 0.25, 2**0.5])


def test_a_grouped_layer_reads_the_channels_of_its_group():
    made = torch.tensor([1.0, 2.0, 3.0, 4.0])
    weight = torch.ones(6, 2, 3)  # two groups of three outputs, of two channels each
    expected = [[1, 2]] * 3 + [[3, 4]] * 3
    assert read_factors(made, weight).squeeze(2).tolist() == expected


def test_a_depthwise_layer_reads_one_channel_per_output():
    made = torch.tensor([1.0, 2.0])
    assert read_factors(made, torch.ones(4, 1, 3, 3)).flatten().tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("adjustments", "message"),
    [
        (scaling(divided=("9.weight",)), "'9.weight', which this network does not have"),
        (scaling(divided=("1.weight",)), "'1.weight', which this network does not have"),
        (scaling(eighths=(1, 2, 3)), "3 channels of '0.weight'"),
        (scaling(multiplied=("0.bias",)), "2 channels of '0.bias'"),
        (
            Adjustments(shifts=(BiasShift(parameter="2.bias", step=1.0, levels=(1, 2)),)),
            "2 channels of '2.bias'",
        ),
    ],
)
def test_adjustments_of_another_network_are_refused(adjustments, message):
    with pytest.raises(ConfigError, match=message):
        adjusted(chain(), adjustments)
