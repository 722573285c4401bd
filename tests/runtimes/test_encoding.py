from dataclasses import replace

import numpy as np
import pytest

from edgekd.errors import BundleError, DataError
from edgekd.runtimes.encoding import (
    InputEncoding,
    TensorInfo,
    decode_output,
    encode_input,
    encode_samples,
)

RGB = InputEncoding(
    name="image", kind="image", mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0), layout="NHWC"
)
FLOAT = TensorInfo(name="image", shape=(None, 1, 2, 3), dtype="float32", layout="NHWC")
# Two pixels of three channels: 255/255 = 1, 0 and 51/255 = 0.2 are exact enough to do by hand.
PIXELS = np.array([[[[255, 0, 51], [0, 255, 255]]]], dtype=np.uint8)


def test_pixels_are_scaled_to_one_and_normalised_per_channel():
    # (1 - .5)/.5 = 1, (0 - .25)/.25 = -1, (.2 - 0)/1 = .2; (0 - .5)/.5 = -1, (1 - .25)/.25 = 3, 1
    expected = [[[[1, -1, 0.2], [-1, 3, 1]]]]
    np.testing.assert_allclose(encode_input(PIXELS, FLOAT, RGB), expected, rtol=1e-6)


def test_channels_first_moves_channels_and_nothing_else():
    info = replace(FLOAT, shape=(None, 3, 1, 2))
    encoded = encode_input(PIXELS, info, replace(RGB, layout="NCHW"))
    np.testing.assert_allclose(encoded, [[[[1, -1]], [[-1, 3]], [[0.2, 1]]]], rtol=1e-6)
    assert encoded.flags.c_contiguous


def test_raw_files_get_the_pixels_as_they_are():
    info = replace(FLOAT, dtype="uint8")
    encoded = encode_input(PIXELS, info, replace(RGB, raw=True))
    assert encoded.dtype == np.uint8
    np.testing.assert_array_equal(encoded, PIXELS)


def test_int8_inputs_are_quantized_and_saturate():
    info = replace(FLOAT, dtype="int8", scale=0.02, zero_point=-10)
    # q = x / 0.02 - 10: 1 -> 40, -1 -> -60, 0.2 -> 0, 3 -> 140, which int8 cuts at 127
    expected = [[[[40, -60, 0], [-60, 127, 40]]]]
    np.testing.assert_array_equal(encode_input(PIXELS, info, RGB), expected)


def test_windows_are_normalised_over_their_middle_axis_and_may_be_turned():
    encoding = InputEncoding(
        name="acc", kind="signal", mean=(1.0, 2.0), std=(2.0, 4.0), layout="NCT"
    )
    info = TensorInfo(name="acc", shape=(1, 2, 3), dtype="float32")
    window = np.array([[[1, 3, 5], [2, 6, 10]]], dtype=np.float32)
    np.testing.assert_array_equal(encode_input(window, info, encoding), [[[0, 1, 2], [0, 1, 2]]])
    turned = encode_input(window, replace(info, shape=(1, 3, 2)), replace(encoding, layout="NTC"))
    np.testing.assert_array_equal(turned, [[[0, 0], [1, 1], [2, 2]]])


def test_extremes_are_limited_in_standard_deviations():
    encoding = InputEncoding(
        name="acc", kind="signal", mean=(1.0,), std=(2.0,), layout="NCT", clip=3.0
    )
    info = TensorInfo(name="acc", shape=(None, 1, 3), dtype="float32")
    window = np.array([[[-99.0, 3.0, 99.0]]], np.float32)
    np.testing.assert_array_equal(encode_input(window, info, encoding), [[[-3, 1, 3]]])


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_window_with_a_hole_is_refused_and_the_way_out_named(broken):
    encoding = InputEncoding(name="acc", kind="signal", mean=(1.0,), std=(2.0,), layout="NCT")
    info = TensorInfo(name="acc", shape=(None, 1, 2), dtype="float32")
    with pytest.raises(DataError, match=r"acc: NaN or infinity.*fed as its mean"):
        encode_input(np.array([[[0, broken]]], np.float32), info, encoding)


@pytest.mark.parametrize(
    ("info", "encoding", "message"),
    [
        (replace(FLOAT, shape=(None, 2, 2, 3)), RGB, "takes .* its record makes"),
        (FLOAT, replace(RGB, layout="HWNC"), "unknown layout 'HWNC'"),
        (FLOAT, replace(RGB, layout="NCT"), "unknown layout 'NCT' of an input of kind image"),
        (FLOAT, replace(RGB, raw=True), "raw uint8 pixels, the file takes float32"),
        (replace(FLOAT, dtype="int8"), RGB, "int8 without a scale"),
    ],
)
def test_a_record_that_contradicts_its_file_is_refused(info, encoding, message):
    with pytest.raises(BundleError, match=message):
        encode_input(PIXELS, info, encoding, source="student.onnx")


def test_several_inputs_are_matched_by_name():
    inputs = (replace(FLOAT, name="b", shape=(1, 1, 2, 3)), FLOAT)
    encodings = (RGB, replace(RGB, name="b"))
    feeds = encode_samples(inputs, encodings, [PIXELS, 255 - PIXELS], source="x")
    assert feeds["image"][0, 0, 0, 0] == 1
    assert feeds["b"][0, 0, 0, 0] == -1
    with pytest.raises(BundleError, match="has no input 'c'"):
        encode_samples(inputs, (RGB, replace(RGB, name="c")), [PIXELS, PIXELS], source="x")
    with pytest.raises(BundleError, match="takes 2 inputs, its record describes 1"):
        encode_samples(inputs, (RGB,), [PIXELS], source="x")


def test_quantized_outputs_become_real_numbers():
    info = TensorInfo(name="logits", shape=(1, 3), dtype="int8", scale=0.25, zero_point=5)
    logits = decode_output(np.array([[5, 9, -3]], dtype=np.int8), info)
    np.testing.assert_array_equal(logits, [[0, 1, -2]])
    assert logits.dtype == np.float32


def test_outputs_of_any_rank_become_rows():
    info = TensorInfo(name="logits", shape=(None, 3, 1, 1), dtype="float16")
    logits = decode_output(np.arange(6, dtype=np.float16).reshape(2, 3, 1, 1), info)
    np.testing.assert_array_equal(logits, [[0, 1, 2], [3, 4, 5]])


def test_an_encoding_survives_json():
    assert InputEncoding.from_json(RGB.to_json()) == RGB
