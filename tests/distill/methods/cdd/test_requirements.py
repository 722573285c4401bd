import pytest

from edgekd.config import TrainRecipe
from edgekd.distill.methods.table import make_method
from edgekd.errors import ConfigError, ModelError


def recipe(**changes):
    plan = {"data": "x", "student": "resnet8", "teacher": "t", "method": "cdd", "epochs": 4}
    table = {"queue_size": 32, **changes.pop("cdd", {})}
    return TrainRecipe(**(plan | {"batch_size": 8, "lr": 0.05, "cdd": table} | changes))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"teacher": None}, ModelError, "add --teacher"),
        ({"optimizer": "adamw"}, ConfigError, "use sgd"),
        ({"batch_size": 64}, ConfigError, "smaller than batch_size"),
        # 0.9 x 4 is 3.6 epochs, which are 4
        (
            {"cdd": {"mask_from": 0.9}},
            ConfigError,
            r"mask_from = 0\.9: that is all of the 4 epochs",
        ),
    ],
)
def test_recipes_that_cannot_work_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        make_method(recipe(**changes))


def test_one_epoch_with_masks_is_enough():
    make_method(recipe(cdd={"mask_from": 0.8}))
