import numpy as np
import pytest
from small_onnx import SHAPE, samples, write_small_network

from edgekd.errors import DataError
from edgekd.export.quantization.calibration import CalibrationSamples, collect, input_encoding
from edgekd.export.quantization.onnx_quantizer import OnnxQuantizer
from edgekd.records import ImageInput, SignalInput

IMAGE = ImageInput(channels=3, height=1, width=1, mean=(0.2, 0.4, 0.6), std=(0.5, 0.25, 0.125))
SIGNAL = SignalInput(name="wrist", channels=2, length=2, mean=(1.0, 2.0), std=(2.0, 4.0))
PIXEL = np.array([[[[0, 51, 255]]]], np.uint8)


def test_pixels_are_encoded_as_a_device_encodes_them():
    samples = CalibrationSamples(specs=[IMAGE], decoded=[PIXEL])
    nchw = samples.feeds("float32", channel_last=False)["image"]
    nhwc = samples.feeds("float32", channel_last=True)["image"]
    assert (nchw.shape, nhwc.shape) == ((1, 3, 1, 1), (1, 1, 1, 3))
    np.testing.assert_allclose(nchw.ravel(), [-0.4, -0.8, 3.2], rtol=1e-5)
    np.testing.assert_array_equal(nchw.ravel(), nhwc.ravel())


def test_raw_pixels_stay_pixels():
    feeds = CalibrationSamples(specs=[IMAGE], decoded=[PIXEL]).feeds("uint8", channel_last=True)
    assert feeds["image"].dtype == np.uint8
    assert np.array_equal(feeds["image"], PIXEL)


def test_windows_are_normalised_per_channel_in_every_encoding():
    windows = np.array([[[1, 3], [2, 6]]], np.float32)
    samples = CalibrationSamples(specs=[SIGNAL], decoded=[windows])
    for encoding in ("float32", "uint8"):
        feeds = samples.feeds(encoding, channel_last=True)
        assert feeds["wrist"].tolist() == [[[0, 1], [0, 1]]]
    assert input_encoding(SIGNAL, "uint8", channel_last=True).layout == "NCT"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_not_a_number_is_refused(bad):
    windows = np.array([[[1, 3], [2, bad]]], np.float32)
    with pytest.raises(DataError, match="'wrist' hold NaN or infinity"):
        CalibrationSamples(specs=[SIGNAL], decoded=[windows])


@pytest.mark.parametrize("count", [64, 320])
def test_a_collector_holds_20_000_values_however_many_samples_come_together(tmp_path, count):
    quantizer = OnnxQuantizer(write_small_network(tmp_path / "small.onnx"), "x86-vnni")
    assert quantizer.calibration_batch == 8
    sampled = collect(quantizer, samples(count)).sampled()
    assert np.prod(SHAPE) * count > 20_000
    assert sampled["image"] == 20_000
    assert sampled["logits"] == 10 * count  # all there are
