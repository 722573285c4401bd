from pathlib import Path

import pytest
import torch

from edgekd.config import CddRecipe, TrainRecipe
from edgekd.config.read import read_recipe
from edgekd.distill.methods.cdd.costs import SiteCosts, deployed_costs
from edgekd.distill.methods.cdd.goal import Goal
from edgekd.distill.methods.cdd.target import Target, make_target
from edgekd.errors import ModelError
from edgekd.students.blocks import find_sites, site_widths
from edgekd.students.build import build_student, parse_student

MODELS = Path(__file__).parents[4] / "models"
COSTS = SiteCosts(full=100, fixed=20, per_channel=(10, 5))  # 4 and 8 channels: 20 + 40 + 40
WIDTHS = (4, 8)


def masks(first="1111", second="11111111"):
    return [torch.tensor([c == "1" for c in text]) for text in (first, second)]


def one(share, costs=COSTS, widths=WIDTHS):
    """A target in one unit."""
    return Target([Goal(unit="macs", costs=costs, share=share)], widths)


def scores(first, second):
    return [torch.tensor(first), torch.tensor(second)]


FALLING = scores([0.9, 0.8, 0.1, 0.0], [0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def text(chosen):
    return ["".join(str(int(c)) for c in part) for part in chosen]


def test_the_most_dispensable_go_first_wherever_they_are():
    # 25 may go: 10 of the first site, 5 of the second, 10 of the first again
    assert text(one(0.75).choose(FALLING, masks(), 1.0)) == ["1100", "10000000"]


def test_what_is_left_is_filled_with_channels_that_fit():
    # 15 may go: 10, then 5; 12 may go: 10, and no channel costs 2
    assert text(one(0.85).choose(FALLING, masks(), 1.0)) == ["1000", "10000000"]
    assert text(one(0.88).choose(FALLING, masks(), 1.0)) == ["1000", "00000000"]
    # 6 may go: the first costs 10, the next one 5
    assert text(one(0.94).choose(FALLING, masks(), 1.0)) == ["0000", "10000000"]


def test_the_last_channel_goes_if_that_ends_nearer():
    # 9 may go: 5, and another 5 misses by 1, without it by 4
    target = one(0.91)
    assert text(target.choose(FALLING, masks(), 1.0)) == ["0000", "11000000"]
    assert target.is_reached(masks("1111", "00111111"))


def test_before_the_end_a_cheaper_channel_does_not_jump_the_queue():
    # at 0.125 of the phase half of 12 may go: the first costs 10 and waits, the next costs 5
    target = one(0.88)
    assert text(target.choose(FALLING, masks(), 0.125)) == ["0000", "00000000"]
    assert text(target.choose(FALLING, masks(), 0.23)) == ["1000", "00000000"]


def test_the_end_is_within_half_a_channel_of_the_goal():
    generator = torch.Generator().manual_seed(0)
    costs = SiteCosts(full=1000, fixed=100, per_channel=(7, 11, 3))
    for share in (0.25, 0.4, 0.65, 0.9):
        widths = (50, 30, 73)
        target = one(share, costs, widths)
        found = target.choose(
            [torch.rand(n, generator=generator) for n in widths],
            [torch.ones(n, dtype=torch.bool) for n in widths],
            1.0,
        )
        end = costs.of([int((~part).sum()) for part in found])
        assert abs(end - share * costs.full) <= 1.5


def test_masks_grow_with_the_phase_and_never_beyond_what_is_due():
    target = one(0.5)
    taken, gone = masks(), []
    for progress in (0.0, 0.0625, 0.125, 0.1875, 0.25, 1.0):
        for mask, chosen in zip(taken, target.choose(FALLING, taken, progress), strict=True):
            mask &= ~chosen
        gone.append(100 - COSTS.of([int(mask.sum()) for mask in taken]))
    # 50 in all, a quarter of it more at every step; all of it at 0.25
    assert gone[0] == 0
    assert all(
        0 <= due - found < 10 for due, found in zip((12.5, 25, 37.5), gone[1:], strict=False)
    )
    assert gone[-2] == gone[-1] == 50
    assert target.is_reached(taken)
    assert not target.is_reached(masks())


def test_one_channel_stays_in_every_site():
    least = one(0.35)  # 20 + 10 + 5
    assert text(least.choose(FALLING, masks(), 1.0)) == ["1110", "11111110"]


def test_masked_channels_are_not_chosen_again():
    target = one(0.75)
    assert text(target.choose(FALLING, masks("0111", "01111111"), 1.0)) == ["0100", "00000000"]


def test_a_target_below_the_least_is_refused():
    with pytest.raises(ModelError, match=r"leaves 0\.350"):
        one(0.34)
    one(0.344)  # within two per cent


MACS = COSTS
PARAMS = SiteCosts(full=120, fixed=20, per_channel=(5, 10))
FIRST_SITE_FIRST = scores([0.9, 0.8, 0.7, 0.6], [0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05])


def two(macs, params):
    goals = [Goal(unit="macs", costs=MACS, share=macs)]
    return Target([*goals, Goal(unit="params", costs=PARAMS, share=params)], WIDTHS)


def test_two_units_end_at_their_goals_together():
    # 30 of the MACs and 30 of the parameters may go; two channels of each site are 30 of both
    assert text(one(0.7).choose(FIRST_SITE_FIRST, masks(), 1.0)) == ["1110", "00000000"]
    target = two(0.7, 0.75)
    assert text(target.choose(FIRST_SITE_FIRST, masks(), 1.0)) == ["1100", "11000000"]
    assert target.is_reached(masks("0011", "00111111"))
    assert not target.is_reached(masks("0001", "11111111"))  # the MACs are there alone


def test_targets_that_no_choice_of_channels_meets_are_refused():
    # at 35 MACs one channel is left in each site, which is 35 of 120 parameters
    with pytest.raises(ModelError, match=r"0\.292 to 0\.292 of its parameters.* 0\.900 is asked"):
        two(0.35, 0.9)


def of_recipe(folder, *, in_channels):
    """A published recipe with what the channels of its student cost, and their numbers."""
    table = read_recipe(MODELS / folder / "recipe.toml")
    recipe = TrainRecipe.model_validate({"data": "x", **table})
    size = (recipe.input_size, recipe.input_size)
    arch = parse_student(
        recipe.student,
        recipe.student_options,
        num_classes=1,
        in_channels=in_channels,
        input_size=size,
        embedding_dim=recipe.retrieval.embedding_dim,
    )
    with torch.device("meta"):
        network = build_student(arch)
    widths = site_widths(network, find_sites(network))
    return recipe.cdd, deployed_costs(network, (in_channels, *size)), widths


@pytest.fixture(scope="module")
def resnet101():
    """ResNet-101 at 256 pixels with 512 numbers: 43.55 M parameters and 12.96 GMACs."""
    return of_recipe("cdd-resnet101-retrieval", in_channels=3)


def driven(target, widths, bias):
    """Channels that are left after a whole second phase with random scores, per site."""
    generator = torch.Generator().manual_seed(0)
    taken = [torch.ones(width, dtype=torch.bool) for width in widths]
    own = [torch.rand(width, generator=generator) + bias(width) for width in widths]
    for step in range(1, 41):
        noisy = [score + 0.1 * torch.rand(len(score), generator=generator) for score in own]
        for mask, chosen in zip(taken, target.choose(noisy, taken, step / 40), strict=True):
            mask &= ~chosen
    assert target.is_reached(taken)
    return own, taken


@pytest.mark.parametrize(
    "bias",
    [lambda width: 0.0, lambda width: 0.3 * (width < 256), lambda width: 0.3 * (width == 512)],
    ids=["even", "large maps first", "last stage first"],
)
def test_the_published_pair_is_met_whichever_channels_retrieval_does_without(resnet101, bias):
    """-67.13 % of the parameters and -65.67 % of the MACs, VeRi-776."""
    recipe, costs, widths = resnet101
    assert costs["params"].full / 1e6 == pytest.approx(43.55, abs=0.005)
    assert costs["macs"].full / 1e9 == pytest.approx(12.96, abs=0.005)
    target = make_target(recipe, costs, widths)
    scores_, taken = driven(target, widths, bias)
    kept = [int(mask.sum()) for mask in taken]
    ends = {unit: costs[unit].of(kept) / costs[unit].full for unit in ("params", "macs")}
    assert ends["params"] == pytest.approx(1 - 0.6713, rel=0.02)
    assert ends["macs"] == pytest.approx(1 - 0.6567, rel=0.02)
    assert target.misses(kept) == ()
    assert min(kept) >= 1
    for score, mask in zip(scores_, taken, strict=True):  # up to the noise, the lowest scores stay
        assert score[mask].max() <= score[~mask].min() + 0.2


def test_one_target_alone_may_miss_the_other(resnet101):
    _, costs, widths = resnet101
    target = make_target(CddRecipe(target_params=0.3287), costs, widths)
    _, taken = driven(target, widths, lambda width: 0.3 * (width < 256))
    macs = costs["macs"].of([int(mask.sum()) for mask in taken]) / costs["macs"].full
    assert abs(macs / 0.3433 - 1) > 0.02


def test_the_recipe_for_omniglot_ends_with_35_per_cent_of_both_at_most():
    recipe, costs, widths = of_recipe("cdd-resnet38w24-omniglot", in_channels=1)
    _, taken = driven(make_target(recipe, costs, widths), widths, lambda width: 0.0)
    kept = [int(mask.sum()) for mask in taken]
    for unit in ("macs", "params"):
        assert costs[unit].of(kept) / costs[unit].full < 0.35
