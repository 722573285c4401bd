import pytest
import torch
from torch import nn

from edgekd.distill.methods.cdd.costs import measure_costs
from edgekd.students.blocks import find_sites, site_widths
from edgekd.students.build import build_student, parse_student
from edgekd.students.count import count_cost


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet8", {"width": 4}),
        ("resnet50", {"width": 4}),
        ("timm:mobilenetv2_050", {}),
        ("timm:mobilenetv3_small_050", {}),
    ],
)
def test_the_formula_gives_what_the_counter_finds_after_pruning(name, options):
    arch = parse_student(name, options, num_classes=3, in_channels=3, input_size=(16, 16))
    full = build_student(arch)
    sites = find_sites(full)
    kept = tuple(
        max(1, width // (2 + index)) for index, width in enumerate(site_widths(full, sites))
    )
    pruned = build_student(arch.model_copy(update={"widths": kept, "merged": True}))
    before, after = (count_cost(n, [(3, 16, 16)]) for n in (full, pruned))
    macs = measure_costs(full, sites, (3, 16, 16), "macs")
    params = measure_costs(full, sites, (3, 16, 16), "params")
    assert (macs.full, params.full) == (before.macs, before.num_params)
    assert (macs.of(kept), params.of(kept)) == (after.macs, after.num_params)


def with_embedding(network):
    """The published head: pooled features, BatchNorm, ReLU, 512 numbers, BatchNorm."""
    network.fc = nn.Sequential(
        nn.BatchNorm1d(2048), nn.ReLU(), nn.Linear(2048, 512, bias=False), nn.BatchNorm1d(512)
    )
    return network


def test_resnet101_at_256_pixels_and_the_most_that_it_can_lose():
    """43.55 M parameters and 12.96 GMACs; the design allows about -70.7 % and -70.4 %.

    All 3x3 kernels and what reads them are ``13 sum_b C_b^2 = 13 * 2,371,584`` = 30.83 M weights.
    The bound lies between what is lost with one channel left in every block and with none.
    """
    arch = parse_student(
        "resnet101", {"last_stride": 1}, num_classes=1, in_channels=3, input_size=(256, 256)
    )
    with torch.device("meta"):
        network = with_embedding(build_student(arch))
    cost = count_cost(network, [(3, 256, 256)])
    assert cost.num_params / 1e6 == pytest.approx(43.55, abs=0.005)
    assert cost.macs / 1e9 == pytest.approx(12.96, abs=0.005)
    sites = find_sites(network)
    assert sum(site_widths(network, sites)) == 8128
    assert sum(width**2 for width in site_widths(network, sites)) == 2_371_584
    for unit, bound in (("params", 0.707), ("macs", 0.704)):
        costs = measure_costs(network, sites, (3, 256, 256), unit)
        one_left, none_left = (1 - costs.of([n] * len(sites)) / costs.full for n in (1, 0))
        assert one_left - 5e-4 <= bound <= none_left
        assert none_left - one_left < 4e-3


def test_a_uniform_keep_rate_of_six_per_cent_is_the_published_ratio():
    """-67.13 % and -65.67 % are published for VeRi-776."""
    arch = parse_student(
        "resnet101", {"last_stride": 1}, num_classes=1, in_channels=3, input_size=(256, 256)
    )
    with torch.device("meta"):
        network = with_embedding(build_student(arch))
    sites = find_sites(network)
    kept = [round(0.06 * width) for width in site_widths(network, sites)]
    params, macs = (
        measure_costs(network, sites, (3, 256, 256), unit) for unit in ("params", "macs")
    )
    assert 1 - params.of(kept) / params.full == pytest.approx(0.6713, abs=0.02)
    assert 1 - macs.of(kept) / macs.full == pytest.approx(0.6567, abs=0.02)
