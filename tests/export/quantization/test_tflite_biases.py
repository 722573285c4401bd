import numpy as np
import pytest
from tiny_models import INPUT_SCALE, SIZE, write_tflite

from edgekd.export.audit.tflite_health import quantized_tflite
from edgekd.export.quantization.tflite_biases import (
    LARGEST_BIAS,
    read_biases,
    with_fitting_biases,
)
from edgekd.export.tflite_schema import parse_tflite, read_tflite


def test_biases_by_name(tmp_path):
    model = read_tflite(write_tflite(tmp_path / "m.tflite"))
    np.testing.assert_array_equal(read_biases(model)["bias"], np.float32([0.5, -0.25, 0.125]))


def test_a_file_whose_biases_fit_is_left_alone(tmp_path):
    content = write_tflite(tmp_path / "m.tflite", "int8-static").read_bytes()
    assert with_fitting_biases(content, {"bias": np.float32([0.5, -0.25, 0.125])}) is content


def test_a_bias_of_a_channel_without_weights_fits_after_its_scale_is_raised(tmp_path):
    path = write_tflite(tmp_path / "m.tflite", "int8-static")
    real = np.float32([0.5, -4e7, 0.125])  # the second needs more than 2^30 steps of 1/128
    path.write_bytes(with_fitting_biases(path.read_bytes(), {"bias": real}))
    (layer,) = quantized_tflite(path).layers
    assert layer.bias is not None
    assert np.abs(layer.bias).max() == LARGEST_BIAS
    model = parse_tflite(path.read_bytes(), source="m")
    scales = {t.name.decode(): t.quantization.scale for t in model.subgraphs[0].tensors}
    step = float(scales["bias"][0])
    np.testing.assert_allclose(layer.bias * step, real, atol=0.51 * step, rtol=1e-6)
    assert scales["bias"] == pytest.approx(scales["weights"] * INPUT_SCALE)
    assert layer.weights.shape == (3, SIZE)
