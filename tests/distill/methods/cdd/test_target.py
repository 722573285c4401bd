import pytest
import torch

from edgekd.distill.methods.cdd.costs import SiteCosts
from edgekd.distill.methods.cdd.target import Pull, Target
from edgekd.errors import ModelError

COSTS = SiteCosts(full=100, fixed=20, per_channel=(10, 5))  # 4 and 8 channels: 20 + 40 + 40
WIDTHS = (4, 8)


def masks(first="1111", second="11111111"):
    return [torch.tensor([c == "1" for c in text]) for text in (first, second)]


def scores(first, second):
    return [torch.tensor(first), torch.tensor(second)]


FALLING = scores([0.9, 0.8, 0.1, 0.0], [0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def text(chosen):
    return ["".join(str(int(c)) for c in part) for part in chosen]


def test_the_most_dispensable_go_first_wherever_they_are():
    # 25 may go: 10 of the first site, 5 of the second, 10 of the first again
    assert text(Target(COSTS, 0.75, WIDTHS).choose(FALLING, masks(), 1.0)) == ["1100", "10000000"]


def test_what_is_left_is_filled_with_channels_that_fit():
    # 15 may go: 10, then 5; 12 may go: 10, and no channel costs 2
    assert text(Target(COSTS, 0.85, WIDTHS).choose(FALLING, masks(), 1.0)) == ["1000", "10000000"]
    assert text(Target(COSTS, 0.88, WIDTHS).choose(FALLING, masks(), 1.0)) == ["1000", "00000000"]
    # 6 may go: the first costs 10, the next one 5
    assert text(Target(COSTS, 0.94, WIDTHS).choose(FALLING, masks(), 1.0)) == ["0000", "10000000"]


def test_the_last_channel_goes_if_that_ends_nearer():
    # 9 may go: 5, and another 5 misses by 1, without it by 4
    target = Target(COSTS, 0.91, WIDTHS)
    assert text(target.choose(FALLING, masks(), 1.0)) == ["0000", "11000000"]
    assert target.is_reached(masks("1111", "00111111"))


def test_before_the_end_a_cheaper_channel_does_not_jump_the_queue():
    # at 0.25 of the phase half of 12 may go: the first costs 10 and waits, the next costs 5
    target = Target(COSTS, 0.88, WIDTHS)
    assert text(target.choose(FALLING, masks(), 0.25)) == ["0000", "00000000"]
    assert text(target.choose(FALLING, masks(), 0.46)) == ["1000", "00000000"]


def test_the_end_is_within_half_a_channel_of_the_goal():
    generator = torch.Generator().manual_seed(0)
    costs = SiteCosts(full=1000, fixed=100, per_channel=(7, 11, 3))
    for share in (0.25, 0.4, 0.65, 0.9):
        widths = (50, 30, 73)
        target = Target(costs, share, widths)
        found = target.choose(
            [torch.rand(n, generator=generator) for n in widths],
            [torch.ones(n, dtype=torch.bool) for n in widths],
            1.0,
        )
        end = costs.of([int((~part).sum()) for part in found])
        assert abs(end - target.goal) <= 1.5


def test_masks_grow_with_the_phase_and_never_beyond_what_is_due():
    target = Target(COSTS, 0.5, WIDTHS)
    taken, gone = masks(), []
    for progress in (0.0, 0.125, 0.25, 0.375, 0.5, 1.0):
        for mask, chosen in zip(taken, target.choose(FALLING, taken, progress), strict=True):
            mask &= ~chosen
        gone.append(target.spent(taken))
    # 50 in all, a quarter of it more at every step; all of it at 0.5
    assert gone[0] == 0
    assert all(
        0 <= due - found < 10 for due, found in zip((12.5, 25, 37.5), gone[1:], strict=False)
    )
    assert gone[-2] == gone[-1] == 50
    assert target.is_reached(taken)
    assert not target.is_reached(masks())


def test_one_channel_stays_in_every_site():
    least = Target(COSTS, 0.35, WIDTHS)  # 20 + 10 + 5
    assert text(least.choose(FALLING, masks(), 1.0)) == ["1110", "11111110"]


def test_masked_channels_are_not_chosen_again():
    target = Target(COSTS, 0.75, WIDTHS)
    assert text(target.choose(FALLING, masks("0111", "01111111"), 1.0)) == ["0100", "00000000"]


def test_a_target_below_the_least_is_refused():
    with pytest.raises(ModelError, match=r"leaves 0\.350"):
        Target(COSTS, 0.34, WIDTHS)
    Target(COSTS, 0.344, WIDTHS)  # within two per cent


def constant(rate=0.1):
    return lambda step: rate


def test_without_a_deadline_the_pull_is_the_recipes():
    pull = Pull(0.004, constant(), momentum=0.9, steps=(10, 110), deadline=False)
    assert pull.strength(10, longest=1.0) == 0.004
    assert pull.strength(109, longest=1.0) == 0.004


def test_with_a_deadline_the_pull_suffices_for_the_way():
    """From step 10 to 75 % of the 100 steps: 75 steps of 0.1 / (1 - 0.9), with twice the pull."""
    pull = Pull(0.004, constant(), momentum=0.9, steps=(10, 110), deadline=True)
    assert pull.strength(10, longest=1.0) == pytest.approx(2 / 75)
    assert pull.strength(10, longest=0.01) == 0.004
    assert pull.strength(10, longest=0.0) == 0.004


def test_after_the_deadline_nothing_outlives_the_step():
    pull = Pull(0.004, constant(), momentum=0.9, steps=(10, 110), deadline=True)
    strength = pull.strength(100, longest=0.5)
    assert pull.band(100, strength) >= 0.5


def test_the_band_is_the_swing_of_a_row_without_defence():
    pull = Pull(0.004, constant(0.01), momentum=0.9, steps=(0, 10), deadline=False)
    assert pull.band(0, 0.004) == pytest.approx(0.01 * 0.004 / 0.1)
