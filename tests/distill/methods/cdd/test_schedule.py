import pytest

from edgekd.config import TrainRecipe
from edgekd.distill.methods.cdd.schedule import Schedule, epochs_without_masks


def recipe(**table):
    plan = {"data": "x", "student": "resnet8", "method": "cdd", "teacher": "t"}
    return TrainRecipe(**plan, epochs=6, lr=0.1, batch_size=8, warmup_epochs=0, cdd=table)


def test_half_of_the_epochs_without_masks():
    schedule = Schedule(recipe(mask_from=0.5), 4)
    assert epochs_without_masks(recipe(mask_from=0.5)) == 3
    assert (schedule.first_masked, schedule.num_steps) == (12, 24)
    assert [schedule.has_masks(step) for step in (0, 11, 12, 23)] == [False, False, True, True]
    assert schedule.progress(12) == pytest.approx(1 / 12)
    assert schedule.progress(23) == 1


def test_indicators_may_have_a_rate_and_momentum_of_their_own():
    schedule = Schedule(recipe(indicator_lr_scale=2.0), 4)
    assert schedule.momentum == 0.9
    assert schedule.rate(0) == pytest.approx(0.2)
    assert schedule.rate(12) == pytest.approx(0.1)  # half of the cosine
    assert Schedule(recipe(indicator_momentum=0.5), 4).momentum == 0.5
