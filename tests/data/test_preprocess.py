from dataclasses import replace

import numpy as np
import pytest

from edgekd.data.arrays import ArrayImages, ArraySignals
from edgekd.data.dataset import Dataset, Samples
from edgekd.data.preprocess import absent_samples, suggest_preprocess
from edgekd.records import ImageInput, SignalInput
from edgekd.runtimes.encoding import InputEncoding, TensorInfo, encode_input


def dataset_of(reader, count, *, sizes=None, modalities=None) -> Dataset:
    train = Samples(
        name="train",
        labels=np.zeros(count, np.int64),
        names=("x",) * count,
        sizes=sizes,
        identities=None,
        cameras=None,
        reader=reader,
        rows=np.arange(count),
    )
    return Dataset(
        source="x",
        kind="signal" if modalities else "image",
        class_names=("a",),
        splits={"train": train},
        modalities=modalities or {},
        fingerprint="",
        skipped_files=(),
    )


def images_of(array, sizes=None) -> Dataset:
    if sizes is None:
        sizes = [array.shape[1:3]] * len(array)
    return dataset_of(ArrayImages(array), len(array), sizes=np.array(sizes))


def test_mean_and_std_are_those_of_the_training_split(rng):
    array = rng.integers(0, 256, (20, 16, 24, 3), dtype=np.uint8)
    image = suggest_preprocess(images_of(array), input_size=None, fit="pad").image
    assert (image.channels, image.height, image.width, image.fit) == (3, 16, 24, "pad")
    scaled = array.reshape(-1, 3) / 255
    assert image.mean == pytest.approx(scaled.mean(axis=0), abs=1e-6)
    assert image.std == pytest.approx(scaled.std(axis=0), abs=1e-6)


def test_grey_data_get_one_channel(rng):
    grey = rng.integers(0, 256, (9, 16, 16, 1), dtype=np.uint8)
    for array in (grey, grey.repeat(3, axis=-1)):
        image = suggest_preprocess(images_of(array), input_size=None, fit="crop").image
        assert image.channels == 1
        assert image.mean == pytest.approx([grey.mean() / 255], abs=1e-6)
    coloured = grey.repeat(3, axis=-1)
    coloured[8, 0, 0, 1] ^= 1  # a single pixel that is not grey
    assert suggest_preprocess(images_of(coloured), input_size=None, fit="crop").image.channels == 3


def test_a_constant_channel_is_not_divided_by_zero():
    image = suggest_preprocess(
        images_of(np.full((4, 16, 16, 1), 51, np.uint8)), input_size=None, fit="crop"
    ).image
    assert (image.mean, image.std) == ((0.2,), (1.0,))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(100, 100)] * 9 + [(3024, 3024)], (100, 100)),
        ([(128, 64)] * 10, (128, 64)),  # not square, but shared by all
        ([(256, 256)] * 10, (256, 256)),
        ([(375, 500)] * 10, (224, 224)),
        ([(4, 4)] * 10, (8, 8)),
        ([(30 + i, 60) for i in range(10)], (32, 32)),  # median short side 34.5
        ([(300 + i, 500) for i in range(10)], (224, 224)),
        ([(3 + i, 50) for i in range(10)], (8, 8)),
    ],
)
def test_the_size_follows_most_of_the_images(sizes, expected):
    array = np.zeros((10, 8, 8, 1), np.uint8)
    image = suggest_preprocess(images_of(array, sizes), input_size=None, fit="crop").image
    assert (image.height, image.width) == expected


def test_an_input_size_wins():
    array = np.zeros((3, 8, 8, 1), np.uint8)
    image = suggest_preprocess(images_of(array), input_size=20, fit="squash").image
    assert (image.height, image.width, image.fit) == (20, 20, "squash")


def test_each_modality_is_an_input_with_its_own_scale(rng):
    windows = {name: rng.normal(size=(50, 2, 30)).astype(np.float16) for name in ("mag", "acc")}
    windows["acc"][:, 1] = 5
    dataset = dataset_of(ArraySignals(windows), 50, modalities=dict.fromkeys(windows, (2, 30)))
    acc, mag = suggest_preprocess(dataset, input_size=None, fit="crop").inputs
    assert (acc.name, acc.channels, acc.length) == ("acc", 2, 30)
    expected = windows["mag"].astype(np.float64)
    assert mag.mean == pytest.approx(expected.mean(axis=(0, 2)), abs=1e-6)
    assert mag.std == pytest.approx(expected.std(axis=(0, 2)), abs=1e-6)
    assert (acc.mean[1], acc.std[1]) == (5.0, 1.0)


def test_signals_in_small_units_keep_their_scale(rng):
    """Seismic metres per second, or volts of an electrode; a constant of any size is constant."""
    values = rng.normal(3e-7, 1e-7, size=(50, 2, 30)).astype(np.float32)
    values[:, 1] = 0.1  # float32 tells it from the number; no sum of it may say that it varies
    dataset = dataset_of(ArraySignals({"eeg": values}), 50, modalities={"eeg": (2, 30)})
    (eeg,) = suggest_preprocess(dataset, input_size=None, fit="crop").inputs
    expected = values[:, 0].astype(np.float64)
    assert eeg.mean[0] == pytest.approx(expected.mean(), rel=1e-5)
    assert eeg.std == (pytest.approx(expected.std(), rel=1e-5), 1.0)


def fed(samples, spec, layout):
    """What a device feeds a file whose record has ``spec``."""
    encoding = InputEncoding(
        name=spec.name, kind=spec.kind, mean=spec.mean, std=spec.std, layout=layout
    )
    info = TensorInfo(name=spec.name, shape=(None, *spec.shape), dtype="float32")
    return encode_input(samples, info, encoding)


def test_a_missing_sensor_is_zeros_to_the_network():
    signal = SignalInput(name="a", channels=2, length=3, mean=(1.1, -9.7), std=(2.0, 5.0))
    assert not fed(absent_samples(signal, 2), signal, "NCT").any()
    image = ImageInput(channels=3, height=2, width=2, mean=(0.2, 0.5, 1.0), std=(0.25,) * 3)
    encoded = fed(absent_samples(image, 2), image, "NCHW")
    assert abs(encoded).max() <= 0.5 / 255 / 0.25 + 1e-6  # half a grey level


def test_an_image_comes_before_the_signals_in_the_order_of_their_names():
    class Both:
        def load(self, rows, spec):
            if isinstance(spec, SignalInput):
                return np.ones((len(rows), spec.channels, spec.length), np.float32)
            return np.zeros((len(rows), spec.height, spec.width, spec.channels), np.uint8)

    sizes = np.full((4, 2), 16)
    dataset = dataset_of(Both(), 4, sizes=sizes, modalities={"gyro": (2, 3), "acc": (1, 5)})
    dataset = replace(dataset, kind="mixed")
    found = suggest_preprocess(dataset, input_size=None, fit="crop")
    assert [spec.name for spec in found.inputs] == ["image", "acc", "gyro"]
