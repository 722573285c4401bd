import pytest
import torch

from edgekd.distill.methods.cdd.finish import merge_indicators, require_mergeable
from edgekd.distill.methods.cdd.indicator import indicated_at, indicated_norms, insert_indicators
from edgekd.errors import ModelError
from edgekd.students.blocks import find_sites, site_widths
from edgekd.students.build import build_student, parse_student

SHAPE = (3, 8, 8)


def indicated(name="resnet8", **options):
    torch.manual_seed(0)
    options = options or {"width": 4}
    arch = parse_student(name, options, num_classes=3, in_channels=3, input_size=SHAPE[1:])
    network = build_student(arch)
    sites = find_sites(network)
    insert_indicators(network, sites)
    with torch.no_grad():
        for part in indicated_norms(network):
            part.indicator.weight.add_(0.1 * torch.randn_like(part.indicator.weight))
        network(torch.randn(16, *SHAPE))  # statistics
    return network, sites


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet14", {"width": 4}),
        ("resnet18", {"width": 4}),
        ("resnet34", {"width": 4, "stem_stride": 1}),
        ("resnet50", {"width": 4}),
        ("resnet101", {"width": 4, "last_stride": 1}),
        ("resnet152", {"width": 4}),
        ("timm:resnet18", {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}),
        ("timm:resnet26", {"layers": [1, 1, 1, 1], "channels": [4, 4, 8, 8]}),
        # a wide variant: the inner channels are twice as many
        ("timm:resnet50", {"layers": [1] * 4, "channels": [4, 4, 8, 8], "base_width": 128}),
        ("timm:mobilenetv2_050", {"drop_rate": 0.0}),
        ("timm:mobilenetv3_small_050", {"drop_rate": 0.0}),
        ("timm:efficientnet_b0", {"drop_rate": 0.0}),
    ],
)
def test_the_merged_network_answers_like_the_pruned_one(name, options):
    network, sites = indicated(name, **options)
    survivors = [torch.arange(0, width, 3) for width in site_widths(network, sites)]
    x = torch.randn(4, *SHAPE)
    with torch.no_grad():
        for site, kept in zip(sites, survivors, strict=True):
            goes = torch.ones(len(indicated_at(network, site).rows()), dtype=torch.bool)
            goes[kept] = False
            indicated_at(network, site).indicator.weight[goes] = 0
            if (follower := site.follower(network)) is not None:
                follower.bias[goes] = 0
                follower.running_mean[goes] = 0
        expected = network.eval()(x)
        merge_indicators(network, sites, survivors, SHAPE)
        found = network(x)
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * scale)
    assert site_widths(network, sites) == tuple(len(kept) for kept in survivors)
    assert indicated_norms(network) == []


@pytest.mark.parametrize(("error", "is_refused"), [(3e-5, False), (3e-4, True)])
def test_the_limit_is_a_ten_thousandth_of_the_largest_answer(error, is_refused):
    network, sites = indicated()
    honest = network.forward

    def changes_when_it_is_merged(x):
        answer = 1e-3 * honest(x)  # small answers are compared as closely as large ones
        return answer if indicated_norms(network) else answer * (1 + error)

    network.forward = changes_when_it_is_merged
    if is_refused:
        with pytest.raises(ModelError, match="merging changed its answer"):
            merge_indicators(network, sites, [torch.arange(2)] * 3, SHAPE)
    else:
        merge_indicators(network, sites, [torch.arange(2)] * 3, SHAPE)


def test_answers_are_compared_on_the_cpu_whatever_the_network_is_on(monkeypatch):
    network, sites = indicated()
    asked = []
    monkeypatch.setattr(
        type(network), "cpu", lambda self: asked.append(self) or self, raising=False
    )
    merge_indicators(network, sites, [torch.arange(2)] * 3, SHAPE)
    assert len(asked) == 2
    assert network not in asked


def test_a_block_that_is_not_what_it_looks_like_is_refused():
    network, sites = indicated()
    block = network.stages[0][0]
    honest = block.forward

    def reads_its_inner_channels_elsewhere(x):
        return honest(x) + block.bn1(block.conv1(x)).abs().mean()

    block.forward = reads_its_inner_channels_elsewhere
    with pytest.raises(ModelError, match="merging changed its answer"):
        merge_indicators(network, sites, [torch.arange(2)] * 3, SHAPE)


def test_what_cannot_be_merged_is_refused_before_it_is_trained(monkeypatch):
    arch = parse_student("resnet8", {"width": 4}, num_classes=3, in_channels=3, input_size=(8, 8))
    network = build_student(arch)
    sites = find_sites(network)
    require_mergeable(network, sites, SHAPE)
    assert indicated_norms(network) == []  # it was a copy
    kind = type(network.stages[0][0])
    honest = kind.forward

    def reads_its_inner_channels_elsewhere(self, x):
        return honest(self, x) + self.bn1(self.conv1(x)).abs().mean()

    monkeypatch.setattr(kind, "forward", reads_its_inner_channels_elsewhere)
    with pytest.raises(ModelError, match="merging changed its answer"):
        require_mergeable(network, sites, SHAPE)
