import pytest
import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.students.blocks import (
    activation_of,
    before_activation,
    find_sites,
    require_sites,
    site_widths,
)
from edgekd.students.build import build_student, parse_student


def network(name, size=32, **options):
    arch = parse_student(name, options, num_classes=3, in_channels=3, input_size=(size, size))
    return build_student(arch)


@pytest.mark.parametrize(
    ("name", "options", "widths"),
    [
        # one site per basic block, as wide as its stage
        ("resnet14", {"width": 4}, (4, 4, 8, 8, 16, 16)),
        # 3 + 4 + 6 + 3 bottlenecks
        ("resnet50", {"width": 4}, (4,) * 3 + (8,) * 4 + (16,) * 6 + (32,) * 3),
        # expansion 6 of 8, 8, 8, 16, ... channels: MobileNetV2 at a width of 0.5
        ("timm:mobilenetv2_050", {}, (48, 96, 96, 96, 96, 96, 192)),
        ("timm:mobilenetv3_small_050", {}, (40, 56, 64, 144, 144)),
        ("timm:resnet26", {}, (64, 64, 128, 128, 256, 256, 512, 512)),
    ],
)
def test_every_residual_block_with_inner_channels_is_a_site(name, options, widths):
    found = network(name, **options)
    assert site_widths(found, find_sites(found))[: len(widths)] == widths


def test_a_wide_resnet_of_timm_is_seen_by_its_modules():
    blocks = {"layers": [1, 1, 1, 1], "base_width": 128}
    found = network("timm:resnet50", **blocks)
    assert site_widths(found, find_sites(found)) == (128, 256, 512, 1024)


def test_an_inverted_residual_takes_its_depthwise_channels_and_its_squeeze_along():
    found = network("timm:mobilenetv3_small_050")
    site = next(site for site in find_sites(found) if site.squeeze is not None)
    block = site.block
    assert site.conv == f"{block}.conv_pw"
    assert site.consumer == f"{block}.conv_pwl"
    assert site.depthwise == f"{block}.conv_dw"
    assert site.depthwise_norm == f"{block}.bn2"
    assert site.squeeze == (f"{block}.se.conv_reduce", f"{block}.se.conv_expand")


def test_grouped_convolutions_are_no_site():
    """A full 1x1 indicator cannot be merged into a grouped convolution."""
    assert find_sites(network("timm:resnet50", layers=[1, 1, 1, 1], cardinality=4)) == ()


def test_an_activation_that_does_not_keep_zero_is_no_site():
    found = network("resnet8", width=4)
    found.stages[0][0].relu = nn.Sigmoid()
    assert len(find_sites(found)) == 2


def test_a_blur_between_the_convolutions_is_no_site():
    found = network("resnet8", width=4)
    found.stages[1][0].aa = nn.Conv2d(8, 8, 3, groups=8)
    assert [site.block for site in find_sites(found)] == ["stages.0.0", "stages.2.0"]


def test_a_network_without_anything_to_shrink_says_so():
    with pytest.raises(ModelError, match="nothing to shrink"):
        require_sites(network("timm:convnext_atto", depths=[1, 1, 1, 1]), purpose="shrink")


def test_a_norm_that_activates_is_read_in_front_of_its_activation():
    block = network("timm:mobilenetv2_050").get_submodule("blocks.1.0")
    seen = []
    before_activation(block.bn1).register_forward_hook(lambda _m, _i, out: seen.append(out.clone()))
    x = torch.randn(2, 48, 4, 4)
    out = block.bn1.eval()(x)
    assert seen[0].min() < 0
    assert torch.equal(activation_of(block.bn1)(seen[0]), out)
