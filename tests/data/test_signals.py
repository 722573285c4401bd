from pathlib import Path

import numpy as np
import pytest

from edgekd.data.signals import checked_signals
from edgekd.errors import DataError

PATH = Path("motion.npz")
WINDOWS = np.arange(12.0).reshape(2, 2, 3)


def test_windows_stay_and_vectors_get_one_time_step(console):
    checked = checked_signals({"acc": WINDOWS, "env": WINDOWS[:, :, 1]}, PATH, console)
    assert checked["acc"] is WINDOWS
    assert checked["env"].tolist() == [[[1.0], [4.0]], [[7.0], [10.0]]]


def test_a_vector_may_be_a_flattened_window_and_is_told(console):
    checked_signals({"acc": WINDOWS, "env": WINDOWS.reshape(2, 6)}, PATH, console)
    assert console.infos == [
        "motion.npz: x_env (2, 6) is taken as a vector of 6 channels, without time; windows have "
        "three axes (N, C, T)"
    ]


@pytest.mark.parametrize("name", ["image", "logits", "self", "lambda", "2d", "a-b", ""])
def test_a_name_that_no_input_can_have(name, console):
    with pytest.raises(DataError, match=f"x_{name}: a modality becomes the name of"):
        checked_signals({name: WINDOWS}, PATH, console)


@pytest.mark.parametrize("values", [WINDOWS[:, 0, 0], WINDOWS[:, :0], WINDOWS > 3])
def test_another_shape_or_kind(values, console):
    with pytest.raises(DataError, match=r"expected numbers \(N, C, T\), or \(N, C\) for a vector"):
        checked_signals({"acc": values}, PATH, console)


def test_values_that_are_no_numbers(console):
    with pytest.raises(DataError, match="x_acc"):
        checked_signals({"acc": np.where(WINDOWS > 3, np.nan, WINDOWS)}, PATH, console)
