import numpy as np
import pytest

from edgekd.data.arrays import (
    ArrayImages,
    ArraySignals,
    digest_rows,
    image_contents,
    refuse_nan,
    to_uint8,
)
from edgekd.errors import DataError
from edgekd.records import ImageInput, SignalInput


def convert(values, dtype, console) -> list:
    """One-pixel grey images, one per value."""
    array = np.array(values, dtype).reshape(-1, 1, 1)
    return to_uint8(array, source="a.npz", console=console).ravel().tolist()


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([0, 7, 255], np.uint8, [0, 7, 255]),
        ([False, True], np.bool_, [0, 255]),
        ([0, 25700, 65535, 128, 129], np.uint16, [0, 100, 255, 0, 1]),
        ([0, 255], np.int64, [0, 255]),
        ([0.0, 0.5, 1.0], np.float32, [0, 128, 255]),  # 127.5 rounds up
        ([0.0, 0.5, 1.0], np.float16, [0, 128, 255]),
        ([0.0, 1.4, 255.0], np.float64, [0, 1, 255]),
    ],
)
def test_types_and_ranges_become_uint8(values, dtype, expected, console):
    assert convert(values, dtype, console) == expected


def test_the_range_of_floats_is_said(console):
    convert([0.0, 0.5], np.float32, console)
    convert([0.0, 200.0], np.float32, console)
    assert [text.rsplit(" ", 2)[-2:] for text in console.infos] == [["[0,", "1]"], ["[0,", "255]"]]


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([-1.0, 1.0], np.float32, r"values from -1 to 1; expected uint8, uint16, or values in \[0"),
        ([0.0, 256.0], np.float32, "from 0 to 256"),
        ([-1, 5], np.int16, "from -1 to 5"),
        ([0.0, np.nan, np.inf], np.float32, "NaN or infinite values in 2 row.*first is row 1"),
        ([1j], np.complex64, "images of type complex64; expected numbers"),
    ],
)
def test_other_ranges_are_refused(values, dtype, message, console):
    with pytest.raises(DataError, match=message):
        convert(values, dtype, console)


def test_rgba_is_laid_over_white(console):
    rgba = np.array([[[[255, 0, 100, 51]]]], np.uint8)  # alpha 0.2
    assert to_uint8(rgba, source="a", console=console).ravel().tolist() == [255, 204, 224]


@pytest.mark.parametrize("shape", [(2, 5), (2, 8, 8, 2), (2, 0, 8), (1, 2, 3, 4, 5)])
def test_other_shapes_are_refused(shape, console):
    with pytest.raises(DataError, match=r"expected \(N, H, W\) or \(N, H, W, C\)"):
        to_uint8(np.zeros(shape, np.uint8), source="a", console=console)


def test_channels_first_gets_a_hint(console):
    with pytest.raises(DataError, match="move the channels last"):
        to_uint8(np.zeros((2, 3, 8, 8), np.uint8), source="a", console=console)


def spec(channels, height, width) -> ImageInput:
    return ImageInput(
        channels=channels,
        height=height,
        width=width,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )


def test_images_are_served_as_they_are_or_fitted():
    images = np.arange(2 * 2 * 2, dtype=np.uint8).reshape(2, 2, 2, 1)
    reader = ArrayImages(images)
    rows = np.array([1, 0, 1])
    assert np.array_equal(reader.load(rows, spec(1, 2, 2)), images[rows])
    assert reader.load(rows, spec(3, 2, 2))[0, 0, 0].tolist() == [4, 4, 4]
    assert reader.load(rows, spec(1, 1, 1)).ravel().tolist() == [6, 2, 6]  # mean, halves up
    assert reader.load(rows[:0], spec(3, 5, 5)).shape == (0, 5, 5, 3)


def signal(name="acc", channels=2, length=3) -> SignalInput:
    return SignalInput(
        name=name, channels=channels, length=length, mean=(0.0,) * channels, std=(1.0,) * channels
    )


def test_signals_are_served_by_name_as_float32():
    windows = np.arange(12, dtype=np.float16).reshape(2, 2, 3)
    loaded = ArraySignals({"acc": windows}).load(np.array([1]), signal())
    assert loaded.dtype == np.float32
    assert loaded.tolist() == [[[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (signal("gyro"), "takes 'gyro', the data hold the signals acc"),
        (signal(length=4), r"'acc' is \(2, 3\), the model takes \(2, 4\)"),
        (spec(1, 2, 2), "takes 'image'"),
    ],
)
def test_another_models_signals_are_refused(spec, message):
    with pytest.raises(DataError, match=message):
        ArraySignals({"acc": np.zeros((2, 2, 3))}).load(np.array([0]), spec)


def test_equal_rows_have_equal_digests_and_no_others():
    first = np.array([[1, 2], [1, 2], [2, 1]])
    same = digest_rows([first])
    assert same[0] == same[1] != same[2]
    both = digest_rows([first, np.array([[0], [1], [0]])])
    assert len(set(both)) == 3
    assert digest_rows([first.astype(np.int32)])[0] != same[0]


def test_image_contents_know_their_size():
    contents = image_contents(
        np.zeros((2, 4, 6, 3), np.uint8),
        names=("a", "b"),
        labels=np.array([0, 1]),
        class_names=("x", "y"),
    )
    assert contents.sizes.tolist() == [[4, 6], [4, 6]]
    assert contents.kind == "image"


def test_integers_are_finite_and_rows_are_counted_over_blocks():
    refuse_nan(np.array([1, 2]), "x", "a")
    values = np.zeros((5000, 2), np.float32)
    values[4999, 1] = values[4500, 0] = np.nan
    with pytest.raises(DataError, match=r"a: x has NaN .* in 2 row\(s\), the first is row 4500"):
        refuse_nan(values, "x", "a")
