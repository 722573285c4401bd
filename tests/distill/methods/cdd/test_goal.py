import pytest

from edgekd.distill.methods.cdd.costs import SiteCosts
from edgekd.distill.methods.cdd.goal import Goal, require_compatible, require_reachable
from edgekd.errors import ModelError

FINE = SiteCosts(full=1000, fixed=100, per_channel=(1, 2))
COARSE = SiteCosts(full=1000, fixed=100, per_channel=(30, 2))


def test_a_miss_is_relative_to_the_goal():
    goal = Goal(unit="params", costs=FINE, share=0.5)
    assert goal.cost == 500
    assert goal.miss((100, 160)) == pytest.approx(0.04)  # 100 + 100 + 320 = 520
    assert goal.miss((100, 140)) == pytest.approx(-0.04)
    assert goal.price(1) == pytest.approx(0.004)


def test_a_missed_goal_is_told_with_what_may_help():
    assert Goal(unit="params", costs=FINE, share=0.5).sentence((100, 160)) == (
        "ended at 0.520 of its parameters, 4.0 % above the target of 0.500; give it more epochs, "
        "or a smaller cdd.mask_from"
    )


def test_a_network_of_few_large_channels_is_named():
    # 100 + 10 * 30 + 2 * 40 = 480; one channel of the first site is 30 of the 500
    assert Goal(unit="macs", costs=COARSE, share=0.5).sentence((10, 40)) == (
        "ended at 0.480 of its MACs, 4.0 % below the target of 0.500; one channel of this network "
        "is up to 6.0 % of that"
    )


def test_a_goal_below_one_channel_everywhere_is_refused():
    require_reachable(Goal(unit="macs", costs=FINE, share=0.103), (300, 300))
    with pytest.raises(ModelError, match=r"0\.050 is out of reach: .* leaves 0\.103 of .* MACs"):
        require_reachable(Goal(unit="macs", costs=FINE, share=0.05), (300, 300))


@pytest.mark.parametrize(
    ("share", "is_possible"), [(0.29, False), (0.31, True), (0.74, True), (0.77, False)]
)
def test_the_second_goal_has_to_lie_where_the_first_leaves_room(share, is_possible):
    """500 of 1000 go; a channel of the first site costs 1 and 2 in the units, of the other 2 and 1.

    The most of the other unit goes with 299 channels of the first site and 100.5 of the second:
    598 + 100.5. The least goes with 250 channels of the second site: 250.
    """
    first = Goal(unit="macs", costs=FINE, share=0.5)
    other = SiteCosts(full=1000, fixed=100, per_channel=(2, 1))
    second = Goal(unit="params", costs=other, share=share)
    if is_possible:
        require_compatible(first, second, (300, 300))
    else:
        with pytest.raises(ModelError, match="exclude each other"):
            require_compatible(first, second, (300, 300))
