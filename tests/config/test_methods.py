import pytest
from pydantic import ValidationError

from edgekd.config import CddRecipe, RetrievalRecipe


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"target_macs": 0.3, "target_params": 0.3}, "give one"),
        ({"mask": "magnitude"}, "give a target too"),
        ({"target_macs": 1.0}, "less than 1"),
    ],
)
def test_targets_that_contradict_each_other(fields, words):
    with pytest.raises(ValidationError, match=words):
        CddRecipe(**fields)


def test_a_batch_is_identities_times_images():
    assert RetrievalRecipe(identities_per_batch=3, images_per_identity=7).batch_size == 21
