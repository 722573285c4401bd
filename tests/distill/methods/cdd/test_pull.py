import pytest

from edgekd.distill.methods.cdd.pull import Pull


def constant(rate=0.1):
    return lambda step: rate


def test_without_a_deadline_the_pull_is_the_recipes():
    pull = Pull(0.004, constant(), momentum=0.9, steps=(10, 110), deadline=False)
    assert pull.strength(10, longest=1.0) == 0.004
    assert pull.strength(109, longest=1.0) == 0.004


def test_with_a_deadline_the_pull_suffices_for_the_way():
    """From step 10 to 40 % of the 100 steps: 40 steps of 0.1 / (1 - 0.9), with twice the pull."""
    pull = Pull(0.004, constant(), momentum=0.9, steps=(10, 110), deadline=True)
    assert pull.strength(10, longest=1.0) == pytest.approx(2 / 40)
    assert pull.strength(10, longest=0.01) == 0.004
    assert pull.strength(10, longest=0.0) == 0.004


def test_after_the_deadline_nothing_outlives_the_step():
    pull = Pull(0.004, constant(), momentum=0.9, steps=(10, 110), deadline=True)
    strength = pull.strength(100, longest=0.5)
    assert pull.band(100, strength) >= 0.5


def test_the_band_is_the_swing_of_a_row_without_defence():
    pull = Pull(0.004, constant(0.01), momentum=0.9, steps=(0, 10), deadline=False)
    assert pull.band(0, 0.004) == pytest.approx(0.01 * 0.004 / 0.1)
