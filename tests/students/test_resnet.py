import pytest
import torch

from edgekd.errors import ModelError
from edgekd.students import resnet


def spec_of(name, **options):
    return resnet.parse(name, options, num_classes=10, in_channels=3)


def num_params(module):
    return sum(p.numel() for p in module.parameters())


def test_resnet8_has_the_parameters_counted_by_hand():
    # stem 3*16*9 + 32; block1 2*(16*16*9) + 64;
    # block2 16*32*9 + 32*32*9 + 128 + shortcut 16*32 + 64; block3 likewise doubled; fc 64*10 + 10
    stem = 432 + 32
    block1 = 2 * 2304 + 2 * 32
    block2 = 4608 + 9216 + 2 * 64 + 512 + 64
    block3 = 18432 + 36864 + 2 * 128 + 2048 + 128
    assert num_params(resnet.build(spec_of("resnet8"))) == stem + block1 + block2 + block3 + 650


@pytest.mark.parametrize(
    ("name", "published"), [("resnet18", 11_689_512), ("resnet50", 25_557_032)]
)
def test_imagenet_style_has_the_published_parameters(name, published):
    arch = resnet.parse(name, {}, num_classes=1000, in_channels=3)
    assert num_params(resnet.build(arch)) == published


def test_widths_set_the_inner_channels_of_each_block():
    arch = spec_of("resnet8").model_copy(update={"widths": (3, 5, 7)})
    module = resnet.build(arch)
    inner = [stage[0].conv1.out_channels for stage in module.stages]
    assert inner == [3, 5, 7]
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_bottleneck_widths_leave_the_first_convolution_full():
    arch = resnet.parse("resnet50", {"width": 8}, num_classes=4, in_channels=1)
    module = resnet.build(arch.model_copy(update={"widths": (1,) * 16})).eval()
    block = module.stages[1][0]
    assert (block.conv1.out_channels, block.conv2.out_channels) == (16, 1)
    assert module(torch.zeros(1, 1, 32, 32)).shape == (1, 4)


def test_no_branch_starts_at_zero():
    module = resnet.build(spec_of("resnet20"))
    assert all(p.abs().sum() > 0 for n, p in module.named_parameters() if n.endswith("weight"))


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("resnet21", {}, "no such depth"),
        ("resnet20", {"wide": 2}, "no option 'wide'"),
        ("resnet20", {"width": 0}, "option width = 0"),
        ("resnet20", {"width": "32"}, "option width = '32': input should be a valid integer"),
        ("resnet18", {"style": "tiny"}, "option style = 'tiny': input should be 'cifar' or"),
        ("resnet18", {"blocks": []}, r"option blocks = \[\]: list should have at least 1"),
        ("resnet18", {"blocks": [1, 0]}, "greater than or equal to 1"),
    ],
)
def test_impossible_requests_are_named(name, options, found):
    with pytest.raises(ModelError, match=found):
        spec_of(name, **options)


def test_a_wrong_number_of_widths_is_an_error():
    with pytest.raises(ModelError, match="needs 3 positive entries"):
        resnet.build(spec_of("resnet8").model_copy(update={"widths": (1, 2)}))


def test_other_names_are_left_to_other_families():
    assert resnet.parse("mobilenetv2_100", {}, num_classes=2, in_channels=3) is None


def test_a_stem_of_stride_two_quarters_the_pixels_of_every_stage():
    usual, coarse = (
        resnet.build(spec_of("resnet8", **options)) for options in ({}, {"stem_stride": 2})
    )
    image = torch.zeros(1, 3, 32, 32)
    sizes = [[tuple(x.shape[2:]) for x in m.eval().forward_stages(image)] for m in (usual, coarse)]
    assert sizes == [[(32, 32), (16, 16), (8, 8)], [(16, 16), (8, 8), (4, 4)]]


def test_the_imagenet_stem_halves_unless_told_otherwise():
    arch = resnet.parse("resnet18", {"width": 4}, num_classes=2, in_channels=3)
    assert resnet.build(arch).eval().forward_stages(torch.zeros(1, 3, 64, 64))[0].shape[2:] == (
        16,
        16,
    )
    arch = resnet.parse("resnet18", {"width": 4, "stem_stride": 1}, num_classes=2, in_channels=3)
    assert resnet.build(arch).eval().forward_stages(torch.zeros(1, 3, 64, 64))[0].shape[2:] == (
        32,
        32,
    )


def test_a_deep_network_takes_the_stem_of_small_images():
    module = resnet.build(spec_of("resnet18", style="cifar"))
    # The size by which ResNet-18 with a 3x3 stem is known on CIFAR-10.
    assert sum(p.numel() for p in module.parameters()) == 11_173_962
    maps = module.eval().forward_stages(torch.zeros(1, 3, 32, 32))
    assert [x.shape[-1] for x in maps] == [32, 16, 8, 4]


def test_a_layout_of_ones_own():
    module = resnet.build(spec_of("resnet18", style="cifar", blocks=[1, 2], width=4))
    assert [len(stage) for stage in module.stages] == [1, 2]
    assert resnet.num_features(module) == 8
