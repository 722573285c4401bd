import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.records import ArchSpec
from edgekd.students.blocks import activation_of, find_sites, norm_at, replace_at, site_widths
from edgekd.students.build import build_student, parse_student
from edgekd.students.count import count_cost
from edgekd.students.surgery import merge_site, merged_kernel, with_widths


def arch_of(name, **options):
    return parse_student(name, options, num_classes=3, in_channels=3, input_size=(16, 16))


def lived_in(network, seed=0):
    """As after some training: BatchNorms with statistics and weights of their own."""
    generator = torch.Generator().manual_seed(seed)
    for part in network.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            for tensor, low in ((part.weight, 0.5), (part.running_var, 0.5), (part.bias, -0.5)):
                tensor.data.uniform_(low, low + 1, generator=generator)
            part.running_mean.uniform_(-0.3, 0.3, generator=generator)
    return network.eval()


def test_one_number_by_hand():
    """Q (gamma (k x - mu) / s + beta) with s = sqrt(3 + 1) = 2."""
    conv = nn.Conv2d(1, 1, 1, bias=False)
    norm = nn.BatchNorm2d(1, eps=1.0)
    conv.weight.data.fill_(5.0)
    norm.weight.data.fill_(4.0)
    norm.bias.data.fill_(0.5)
    norm.running_mean.fill_(3.0)
    norm.running_var.fill_(3.0)
    kernel, bias = merged_kernel(conv, norm, torch.tensor([[0.1]]))
    assert kernel.item() == pytest.approx(0.1 * 5 * 4 / 2)
    assert bias.item() == pytest.approx(0.1 * (0.5 - 3 * 4 / 2))


def test_a_bias_in_front_of_the_norm_is_merged_too():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 3), lived_in(nn.BatchNorm2d(4))
    mixing, x = torch.randn(2, 4), torch.randn(2, 3, 5, 5)
    kernel, bias = merged_kernel(conv, norm, mixing)
    expected = torch.einsum("oc,bchw->bohw", mixing, norm(conv(x)))
    found = nn.functional.conv2d(x, kernel, bias)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet8", {"width": 4}), ("resnet50", {"width": 2}), ("timm:mobilenetv3_small_050", {})],
)
def test_merging_an_identity_changes_no_answer(name, options):
    torch.manual_seed(0)
    network = lived_in(build_student(arch_of(name, **options)))
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = network(x)
        for site in find_sites(network):
            norm = norm_at(network, site.norm)
            everything = torch.arange(norm.num_features)
            merge_site(network, site, norm, torch.eye(norm.num_features), everything)
            replace_at(network, site.norm, activation_of(norm))
        torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet8", {"width": 4}), ("resnet50", {"width": 4}), ("timm:mobilenetv3_small_050", {})],
)
def test_a_pruned_architecture_is_built_from_its_record(name, options):
    arch = arch_of(name, **options)
    full = build_student(arch)
    widths = tuple(max(1, width // 3) for width in site_widths(full, find_sites(full)))
    pruned = arch.model_copy(update={"widths": widths, "merged": True})
    network = build_student(ArchSpec.model_validate_json(pruned.model_dump_json(), strict=False))
    again = build_student(pruned)
    again.load_state_dict(network.state_dict(), strict=True)
    assert network.eval()(torch.zeros(2, 3, 16, 16)).shape == (2, 3)
    before, after = (count_cost(n, [(3, 16, 16)]) for n in (full, network))
    assert after.num_params < before.num_params
    assert after.macs < before.macs


@pytest.mark.parametrize("widths", [(4, 8), (4, 8, 17), (0, 1, 1)])
def test_widths_that_do_not_fit_are_refused(widths):
    with pytest.raises(ModelError, match="do not fit"):
        with_widths(build_student(arch_of("resnet8", width=4)), widths)


def test_a_merged_architecture_needs_widths():
    arch = arch_of("resnet8", width=4).model_copy(update={"merged": True})
    with pytest.raises(ModelError, match="do not fit"):
        build_student(arch)
