import sys

import numpy as np
import pytest

from edgekd.data.digits import open_digits
from edgekd.errors import MissingExtraError
from edgekd.records import ImageInput


def test_the_digits_fill_the_whole_range(recipe, console):
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    contents = open_digits(recipe("builtin:digits"), console)
    assert contents.class_names == tuple("0123456789")
    assert np.bincount(contents.labels).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]
    spec = ImageInput(channels=1, height=8, width=8, mean=(0.0,), std=(1.0,))
    pixels = contents.reader.load(np.arange(1797), spec)
    levels = sklearn_datasets.load_digits().images
    assert np.unique(pixels[levels == 16]).tolist() == [255]
    assert np.unique(pixels[levels == 8]).tolist() == [128]  # 127.5 rounds up
    assert np.unique(pixels[levels == 0]).tolist() == [0]


def test_without_scikit_learn_the_extra_is_named(recipe, console, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgekd\[train\]'"):
        open_digits(recipe("builtin:digits"), console)
