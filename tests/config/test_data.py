import pytest
from pydantic import ValidationError

from edgekd.config import DataRecipe


@pytest.mark.parametrize("split", [(0.5, 0.5), (0.0, 0.2), (0.2, -0.1), (0.9, 0.2)])
def test_fractions_leave_something_to_train_on(split):
    with pytest.raises(ValidationError, match="sum to less than 1"):
        DataRecipe(data="d", split=split)


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        ({"train_folder": "a"}, "give both"),
        ({"test_folder": "a"}, "give both"),
        ({"train_folder": "a", "test_folder": "/a/"}, "must name two folders"),
        ({"train_folder": "a", "test_folder": "/"}, "must name two folders"),
    ],
)
def test_folders_come_in_pairs(folders, words):
    with pytest.raises(ValidationError, match=words):
        DataRecipe(data="d", **folders)
