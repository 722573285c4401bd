from typing import get_args

import pytest
from pydantic import ValidationError

from edgekd.config import CddRecipe, MethodName, RetrievalRecipe, TrainRecipe, build_recipe
from edgekd.config.methods import READERS
from edgekd.errors import ConfigError


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mask": "magnitude"}, "give a target too"),
        ({"target_macs": 1.0}, "less than 1"),
    ],
)
def test_targets_that_are_none(fields, words):
    with pytest.raises(ValidationError, match=words):
        CddRecipe(**fields)


def test_both_targets_may_be_given():
    recipe = CddRecipe(target_macs=0.3433, target_params=0.3287)
    assert (recipe.target_macs, recipe.target_params) == (0.3433, 0.3287)


def test_a_batch_is_identities_times_images():
    assert RetrievalRecipe(identities_per_batch=3, images_per_identity=7).batch_size == 21


def test_the_share_of_the_soft_loss_is_not_for_lsskd():
    plan = {"data": "x", "student": "resnet8", "method": "lsskd"}
    with pytest.raises(ConfigError) as found:
        build_recipe(TrainRecipe, flags={**plan, "kd": {"kd_weight": 0.5}})
    assert "method lsskd does not read it" in str(found.value)
    assert str(found.value).endswith("use method kd or cdd")
    taught = {**plan, "teacher": "t", "kd": {"temperature": 2.0}}
    read = build_recipe(TrainRecipe, flags=taught)
    assert read.kd.temperature == 2.0


def test_a_field_comes_before_its_table():
    keys = list(READERS)
    for place, key in enumerate(keys):
        assert not any(later.startswith(f"{key}.") for later in keys[place:])


def test_every_entry_is_a_field_and_names_methods():
    for key, readers in READERS.items():
        kind = TrainRecipe
        for name in key.split("."):
            kind = kind.model_fields[name].annotation
        assert readers
        assert set(readers) < set(get_args(MethodName))
