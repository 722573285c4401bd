import pytest

from edgekd.errors import ModelError
from edgekd.teachers.normalisation import per_channel, split_options


def test_a_path_may_hold_what_looks_like_an_option(tmp_path):
    path = tmp_path / "net#mean=1.pt2"
    path.touch()
    assert split_options(str(path)) == (str(path), {})


@pytest.mark.parametrize("text", ["net.pt2#scale=2", "net.pt2#mean", "net.pt2#std=a"])
def test_what_is_not_understood(text):
    with pytest.raises(ModelError, match="is not understood"):
        split_options(text)


def test_one_value_stands_for_every_channel():
    mean, std = per_channel({"mean": (0.5,), "std": (1.0, 2.0, 3.0)}, channels=3, source="net")
    assert (mean, std) == ((0.5, 0.5, 0.5), (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": (0.0, 1.0), "std": (1.0,)},
        {"mean": (0.0,), "std": (0.0,)},
        {"mean": (float("nan"),), "std": (1.0,)},
    ],
)
def test_values_that_normalise_nothing(wrong):
    with pytest.raises(ModelError, match="expected one value or 3, and std above 0"):
        per_channel(wrong, channels=3, source="net")
