import numpy as np

from edgekd.data.arrays import ArrayImages
from edgekd.data.dataset import Samples
from edgekd.records import ImageInput


def test_indices_are_positions_in_the_split():
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1)
    samples = Samples(
        name="val",
        labels=np.array([0, 1, 1]),
        names=("a", "b", "c"),
        sizes=None,
        identities=None,
        cameras=None,
        reader=ArrayImages(images),
        rows=np.array([4, 2, 0]),
    )
    spec = ImageInput(channels=1, height=1, width=1, mean=(0.0,), std=(1.0,))
    assert len(samples) == 3
    assert samples.load(None, spec).ravel().tolist() == [4, 2, 0]
    assert samples.load(np.array([2, 2, 1]), spec).ravel().tolist() == [0, 0, 2]
