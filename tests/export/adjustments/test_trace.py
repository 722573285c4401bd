import pytest
import torch
from torch import nn

from edgekd.errors import ExportError
from edgekd.export.adjustments.trace import Trace


def names(trace):
    return [(layer.weight, layer.bias, layer.axis, layer.is_product) for layer in trace.products()]


def test_layers_are_found_with_their_parameters():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Flatten(2), nn.LayerNorm(4), nn.Linear(4, 3, bias=False)
    ).eval()
    trace = Trace(network, [torch.zeros(1, 1, 4, 4)])
    found = [(x.weight, x.bias, x.axis, x.is_product) for x in trace.layers.values()]
    assert found == [
        ("0.weight", "0.bias", 1, True),
        ("2.weight", "2.bias", 2, False),
        ("3.weight", None, 2, True),
    ]


class Twice(nn.Module):
    """A layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.shared, self.own = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x):
        return self.own(self.shared(self.shared(x)))


def test_a_weight_that_is_read_twice_belongs_to_no_layer():
    assert names(Trace(Twice().eval(), [torch.zeros(1, 2)])) == [
        ("own.weight", "own.bias", 1, True)
    ]


def test_a_weight_under_two_names_belongs_to_no_layer():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)).eval()
    network[0].weight = network[2].weight
    assert names(Trace(network, [torch.zeros(1, 2)])) == [("1.weight", "1.bias", 1, True)]


def test_a_computed_weight_belongs_to_no_layer():
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))).eval()
    assert names(Trace(network, [torch.zeros(1, 2)])) == []


class InPlace(nn.Module):
    """Adds what an activation in place has already changed."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, x):
        y = self.first(x)
        return self.second(y) + torch.relu_(y)


def test_a_norm_over_more_than_its_channels_is_no_layer():
    network = nn.Sequential(nn.LayerNorm((4, 4))).eval()
    assert not Trace(network, [torch.zeros(1, 4, 4)]).layers


def test_a_run_tells_what_layers_are_given():
    network = InPlace().eval().requires_grad_(False)
    network.first.weight.fill_(-2.0)
    network.first.bias.fill_(0.5)
    trace, heard = Trace(network, [torch.zeros(1, 1)]), []
    trace.run(
        [torch.tensor([[3.0]])],
        {layer.node for layer in trace.products()},
        lambda node, values: heard.append((trace.layers[node].weight, values[0].item())),
    )
    assert heard == [("first.weight", 3.0), ("second.weight", -5.5)]


def test_a_run_uses_the_parameters_as_they_are_by_then():
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)).eval().requires_grad_(False)
    trace, heard = Trace(network, [torch.zeros(1, 1)]), []
    network[0].weight.fill_(2.0)
    network[0].bias.fill_(1.0)
    second = list(trace.products())[1].node
    trace.run([torch.ones(1, 1)], [second], lambda _, values: heard.append(values[0].item()))
    assert heard == [3.0]


class Refuses(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_traced_is_an_error_of_one_line():
    with pytest.raises(ExportError, match="torch cannot trace the student") as caught:
        Trace(Refuses(), [torch.zeros(1, 1)])
    assert "\n" not in str(caught.value)
