import pytest
from pydantic import ValidationError

from edgekd.config import ExportRecipe, RecoveryRecipe


def test_nothing_is_trained_unless_it_is_asked_for():
    assert RecoveryRecipe().epochs == 0
    assert ExportRecipe(int8="fast").recovery == RecoveryRecipe()


@pytest.mark.parametrize("word", ["fast", "full"])
def test_int8_with_ranges_can_be_recovered(word):
    recipe = ExportRecipe(int8=word, recovery={"epochs": 2})
    assert (recipe.recovery.epochs, recipe.unread()) == (2, {})


@pytest.mark.parametrize("word", [None, "weights", "dynamic"])
def test_int8_without_ranges_cannot(word):
    with pytest.raises(ValidationError, match="int8 fast or full"):
        ExportRecipe(int8=word, recovery={"epochs": 1})


def test_a_replay_trains_nothing():
    with pytest.raises(ValidationError, match="give one of them"):
        ExportRecipe(int8="fast", int8_recipe=("a.json",), recovery={"epochs": 1})


def test_settings_without_epochs_are_read_by_nobody():
    unread = ExportRecipe(int8="fast").unread()
    assert {"recovery.lr", "recovery.teacher", "recovery.kd_weight"} <= unread.keys()
    assert "recovery.epochs" not in unread


@pytest.mark.parametrize(
    "wrong", [{"epochs": -1}, {"lr": 0}, {"temperature": 0}, {"kd_weight": 1.5}, {"T": 1}]
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        RecoveryRecipe(**wrong)
