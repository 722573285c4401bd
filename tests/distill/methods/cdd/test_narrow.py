import copy

import pytest
import torch

from edgekd.distill.methods.cdd.indicator import indicated_at, insert_indicators
from edgekd.distill.methods.cdd.narrow import narrow, narrow_to
from edgekd.students.blocks import conv_at, find_sites
from edgekd.students.build import build_student, parse_student

NETWORKS = [
    ("resnet8", {"width": 8}),
    ("resnet50", {"width": 4}),
    ("timm:mobilenetv3_small_050", {}),
]


def trained(name, options):
    """A network with indicators that mix channels, a few steps old."""
    torch.manual_seed(0)
    arch = parse_student(name, options, num_classes=3, in_channels=3, input_size=(16, 16))
    network = build_student(arch)
    sites = find_sites(network)
    insert_indicators(network, sites)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for _ in range(3):
        step(network, optimizer, torch.randn(8, 3, 16, 16))
    for site in sites:
        weight = indicated_at(network, site).indicator.weight
        with torch.no_grad():
            weight.add_(0.1 * torch.randn_like(weight))
    return network, sites, optimizer


def step(network, optimizer, x):
    optimizer.zero_grad()
    network(x).square().mean().backward()
    optimizer.step()


def kill_every_other(network, site):
    part = indicated_at(network, site)
    dead = torch.arange(1, len(part.rows()), 2)
    with torch.no_grad():
        part.indicator.weight[dead] = 0
        if site.depthwise_norm is not None:
            follower = network.get_submodule(site.depthwise_norm)
            follower.bias[dead] = 0
            follower.running_mean[dead] = 0
    return torch.arange(0, len(part.rows()), 2)


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_the_answer_stays(name, options, is_training):
    network, sites, optimizer = trained(name, options)
    network.double()  # BatchNorms of few values would blow the rounding up
    kept = [kill_every_other(network, site) for site in sites]
    x = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    network.train(is_training)
    whole = copy.deepcopy(network)
    with torch.no_grad():
        for site, rows in zip(sites, kept, strict=True):
            narrow(network, site, rows, optimizer)
        torch.manual_seed(1)
        expected = whole(x)
        torch.manual_seed(1)
        found = network(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))


def test_it_is_slicing_with_everything_the_optimizer_knows():
    network, sites, optimizer = trained("resnet8", {"width": 8})
    site = sites[0]
    kept = kill_every_other(network, site)
    conv, part = conv_at(network, site.conv), indicated_at(network, site)
    old, rows = conv.weight, part.rows().clone()
    reader = conv_at(network, site.consumer).weight.clone()
    momentum = [
        optimizer.state[w]["momentum_buffer"].clone()
        for w in (part.indicator.weight, conv_at(network, site.consumer).weight)
    ]
    narrow(network, site, kept, optimizer)
    assert conv.weight is old  # all of its channels are mixed by the rows that are left
    assert torch.equal(part.rows(), rows[kept])
    new = conv_at(network, site.consumer)
    assert torch.equal(new.weight, reader[:, kept])
    assert new.in_channels == part.indicator.out_channels == len(kept)
    states = [optimizer.state[w]["momentum_buffer"] for w in (part.indicator.weight, new.weight)]
    assert torch.equal(states[0], momentum[0][kept])
    assert torch.equal(states[1], momentum[1][:, kept])


def test_the_optimizer_holds_the_new_parameters_and_no_old_one():
    network, sites, optimizer = trained("resnet8", {"width": 8})
    for site in sites:
        narrow(network, site, kill_every_other(network, site), optimizer)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in network.parameters()}
    assert {id(p) for p in optimizer.state} <= held
    for parameter, state in optimizer.state.items():
        assert state["momentum_buffer"].shape == parameter.shape
    before = [p.detach().clone() for p in network.parameters()]
    step(network, optimizer, torch.randn(4, 3, 16, 16))
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_a_fresh_network_takes_the_weights_of_a_narrowed_one():
    network, sites, _ = trained("resnet8", {"width": 8})
    fresh = copy.deepcopy(network)
    numbers = [torch.tensor([1, 4]), torch.arange(16), torch.arange(5)]
    for site, kept in zip(sites, numbers, strict=True):
        narrow(network, site, kept)
    narrow_to(fresh, sites, numbers)
    fresh.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(fresh.eval()(x), network.eval()(x))
