from dataclasses import replace

import numpy as np
import pytest

from edgekd.errors import BundleError
from edgekd.runtimes.encoding import InputEncoding, TensorInfo, encode_input
from edgekd.runtimes.random_inputs import random_feeds, random_samples

RGB = InputEncoding(
    name="image", kind="image", mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0), layout="NCHW"
)
FLOAT = TensorInfo(name="image", shape=(None, 1, 2, 3), dtype="float32", layout="NHWC")


def test_random_samples_fit_the_file_and_repeat_with_their_seed():
    info = replace(FLOAT, shape=(None, 3, 4, 5))
    first, again = (random_samples([info], [RGB], batch=2, seed=7, source="x")[0] for _ in range(2))
    assert (first.shape, first.dtype) == ((2, 4, 5, 3), np.uint8)
    np.testing.assert_array_equal(first, again)
    assert encode_input(first, info, RGB).shape == (2, 3, 4, 5)


def test_random_feeds_fit_files_of_which_nothing_is_known():
    infos = [replace(FLOAT, name="x"), replace(FLOAT, name="q", dtype="int8", shape=(1, 500))]
    feeds = random_feeds(infos, batch=1, seed=0)
    assert feeds["x"].shape == (1, 1, 2, 3)
    assert feeds["x"].dtype == np.float32
    assert feeds["q"].min() < -100
    assert feeds["q"].max() > 100


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (replace(FLOAT, shape=(None, None, 2, 3)), "only the first axis may be dynamic"),
        (replace(FLOAT, dtype="int64"), "takes int64"),
    ],
)
def test_inputs_that_cannot_be_made_up_are_refused(info, message):
    with pytest.raises(BundleError, match=message):
        random_feeds([info], batch=1, seed=0)
