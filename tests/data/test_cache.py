import numpy as np
import pytest

from edgekd.data.arrays import ArraySignals
from edgekd.data.cache import InputSource, PixelSource
from edgekd.data.dataset import Samples
from edgekd.records import ImageInput, SignalInput

SPEC = ImageInput(channels=1, height=2, width=3, mean=(0.0,), std=(1.0,))


class CountingReader:
    def __init__(self) -> None:
        self.decoded: list[int] = []

    def load(self, rows, spec):
        self.decoded += rows.tolist()
        flat = np.asarray(rows, np.uint8).reshape(-1, 1, 1, 1)
        return np.broadcast_to(flat, (len(rows), 2, 3, 1)).copy()


def samples(reader, rows) -> Samples:
    return Samples(
        name="train",
        labels=np.zeros(len(rows), np.int64),
        names=("x",) * len(rows),
        sizes=None,
        identities=None,
        cameras=None,
        reader=reader,
        rows=np.array(rows),
    )


@pytest.mark.parametrize(("limit_bytes", "in_memory"), [(5 * 6, True), (5 * 6 - 1, False)])
def test_both_ways_give_the_same_pixels(limit_bytes, in_memory, console):
    reader = CountingReader()
    source = PixelSource(
        samples(reader, [9, 8, 7, 6, 5]), SPEC, limit_bytes=limit_bytes, console=console
    )
    assert source.in_memory is in_memory
    assert len(source) == 5
    for _ in range(2):
        pixels = source[np.array([4, 0, 0])]
        assert pixels.shape == (3, 2, 3, 1)
        assert pixels[:, 0, 0, 0].tolist() == [5, 9, 9]
    assert reader.decoded == ([9, 8, 7, 6, 5] if in_memory else [5, 9, 9] * 2)
    assert console.tracker.done == (5 if in_memory else 0)


def test_many_samples_are_decoded_in_blocks():
    rows = list(range(250)) * 9
    source = PixelSource(samples(CountingReader(), rows), SPEC)
    assert source[np.arange(2250)][:, 0, 0, 0].tolist() == rows


def test_signals_are_kept_as_floats():
    windows = np.arange(12, dtype=np.float16).reshape(2, 2, 3)
    spec = SignalInput(name="acc", channels=2, length=3, mean=(0.0,) * 2, std=(1.0,) * 2)
    source = PixelSource(samples(ArraySignals({"acc": windows}), [1, 0]), spec, limit_bytes=48)
    assert source.in_memory
    assert source[np.array([0])].tolist() == windows[1:].tolist()


def test_every_input_of_a_sample_comes_along():
    windows = {"a": np.arange(12.0).reshape(2, 2, 3), "b": np.arange(4.0).reshape(2, 1, 2)}
    specs = [
        SignalInput(name="b", channels=1, length=2, mean=(0.0,), std=(1.0,)),
        SignalInput(name="a", channels=2, length=3, mean=(0.0,) * 2, std=(1.0,) * 2),
    ]
    source = InputSource(samples(ArraySignals(windows), [1, 0]), specs)
    assert len(source) == 2
    first, second = source[np.array([0])]
    assert first.tolist() == windows["b"][1:].tolist()
    assert second.tolist() == windows["a"][1:].tolist()
