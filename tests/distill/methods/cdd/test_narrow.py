import copy

import pytest
import torch
from torch import nn

from edgekd.distill.methods.cdd.indicator import indicated_at, insert_indicators
from edgekd.distill.methods.cdd.narrow import narrow, plan_narrowing
from edgekd.students.blocks import conv_at, find_sites
from edgekd.students.build import build_student, parse_student


def trained(name, options, mixing):
    """A network with indicators, a few steps old; ``mixing`` scales what is off their diagonals."""
    torch.manual_seed(0)
    arch = parse_student(name, options, num_classes=3, in_channels=3, input_size=(16, 16))
    network = build_student(arch)
    sites = find_sites(network)
    insert_indicators(network, sites, track_variance=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        network(torch.randn(8, 3, 16, 16)).square().mean().backward()
        optimizer.step()
    for site in sites:
        part = indicated_at(network, site)
        weight = part.indicator.weight
        with torch.no_grad():
            own = torch.eye(len(weight))[:, :, None, None]
            weight.copy_(0.7 * own + mixing * torch.randn_like(weight) * (1 - own))
            part.variance.copy_(part.rows().square() @ part.norm.weight.square())
    return network, sites, optimizer


def drop_every_other(network, site):
    part = indicated_at(network, site)
    dead = torch.arange(1, len(part.rows()), 2)
    with torch.no_grad():
        part.indicator.weight[dead] = 0
        if site.depthwise_norm is not None:
            follower = network.get_submodule(site.depthwise_norm)
            follower.bias[dead] = 0
            follower.running_mean[dead] = 0
    return torch.arange(0, len(part.rows()), 2)


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet8", {"width": 8}), ("resnet50", {"width": 4}), ("timm:mobilenetv3_small_050", {})],
)
def test_the_answer_in_eval_mode_stays(name, options):
    network, sites, optimizer = trained(name, options, mixing=0.1)
    kept = [drop_every_other(network, site) for site in sites]
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        expected = network.eval()(x)
        for site, rows in zip(sites, kept, strict=True):
            narrow(network, site, plan_narrowing(network, site, rows), optimizer)
        found = network(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert conv_at(network, sites[0].conv).out_channels == len(kept[0])


def test_without_mixing_it_is_slicing_with_everything_the_optimizer_knows():
    network, sites, optimizer = trained("resnet8", {"width": 8}, mixing=0.0)
    site = sites[0]
    kept = drop_every_other(network, site)
    before = copy.deepcopy(network)
    conv, part = conv_at(network, site.conv), indicated_at(network, site)
    momentum = optimizer.state[conv.weight]["momentum_buffer"].clone()
    reader = optimizer.state[conv_at(network, site.consumer).weight]["momentum_buffer"].clone()
    narrow(network, site, plan_narrowing(network, site, kept), optimizer)
    old, old_part = conv_at(before, site.conv), indicated_at(before, site)
    torch.testing.assert_close(conv.weight, old.weight[kept])
    torch.testing.assert_close(part.norm.weight, old_part.norm.weight[kept], rtol=1e-3, atol=0)
    torch.testing.assert_close(part.norm.bias, old_part.norm.bias[kept])
    torch.testing.assert_close(part.norm.running_mean, old_part.norm.running_mean[kept])
    torch.testing.assert_close(part.rows(), 0.7 * torch.eye(len(kept)))
    new_reader = conv_at(network, site.consumer).weight
    torch.testing.assert_close(new_reader, conv_at(before, site.consumer).weight[:, kept])
    torch.testing.assert_close(optimizer.state[conv.weight]["momentum_buffer"], momentum[kept])
    torch.testing.assert_close(optimizer.state[new_reader]["momentum_buffer"], reader[:, kept])


def test_the_optimizer_holds_the_new_parameters_and_no_old_one():
    network, sites, optimizer = trained("resnet8", {"width": 8}, mixing=0.1)
    for site in sites:
        kept = drop_every_other(network, site)
        narrow(network, site, plan_narrowing(network, site, kept), optimizer)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in network.parameters()}
    assert {id(p) for p in optimizer.state} <= held
    for parameter, state in optimizer.state.items():
        assert state["momentum_buffer"].shape == parameter.shape
    before = [p.detach().clone() for p in network.parameters()]
    network(torch.randn(4, 3, 16, 16)).square().mean().backward()
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_an_average_needs_a_plan_of_its_own():
    """Norms, and how rows mix channels, are its own; those of the student would replace them."""
    network, sites, _ = trained("resnet8", {"width": 8}, mixing=0.1)
    average, site, x = copy.deepcopy(network), sites[1], torch.randn(4, 3, 16, 16)
    part = indicated_at(average, site)
    with torch.no_grad():
        part.norm.weight.mul_(1.5)
        part.norm.running_var.mul_(0.5)
        part.indicator.weight.add_(0.1 * torch.randn_like(part.indicator.weight))
    kept = drop_every_other(network, site)
    drop_every_other(average, site)
    foreign = copy.deepcopy(average)
    with torch.no_grad():
        expected = average.eval()(x)
        narrow(average, site, plan_narrowing(average, site, kept))
        narrow(foreign, site, plan_narrowing(network, site, kept))
        found, wrong = average(x), foreign.eval()(x)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * scale)
    assert float((wrong - expected).abs().max()) > 1e-2 * scale


def test_a_row_of_zeros_that_has_to_stay_stays_zero():
    network, sites, _ = trained("resnet8", {"width": 8}, mixing=0.1)
    site = sites[0]
    part = indicated_at(network, site)
    with torch.no_grad():
        part.indicator.weight.zero_()
    narrow(network, site, plan_narrowing(network, site, torch.tensor([0])))
    assert part.rows().tolist() == [[0.0]]
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())
    assert isinstance(part.norm, nn.BatchNorm2d)
