import numpy as np
from tiny_models import BIAS, INPUT_SCALE, OUTPUT_SCALE, WEIGHT_SCALE, WEIGHTS, write_tflite

from edgekd.export.audit.tflite_health import quantized_tflite


def test_scales_weights_and_bias_of_one_product(tmp_path):
    found = quantized_tflite(write_tflite(tmp_path / "m.tflite", "int8-static"))
    assert {name: float(values[0]) for name, values in found.scales.items()} == {
        "image": INPUT_SCALE,
        "flat": INPUT_SCALE,
        "weights": WEIGHT_SCALE,
        "bias": INPUT_SCALE * WEIGHT_SCALE,
        "logits": OUTPUT_SCALE,
    }
    (layer,) = found.layers
    np.testing.assert_array_equal(layer.weights, WEIGHTS / WEIGHT_SCALE)
    np.testing.assert_array_equal(layer.bias, BIAS / (INPUT_SCALE * WEIGHT_SCALE))
    assert layer.sums_in_int32


def test_nothing_is_quantized_in_fp32(tmp_path):
    found = quantized_tflite(write_tflite(tmp_path / "m.tflite"))
    assert (found.scales, found.layers) == ({}, ())


def test_every_product_of_a_real_file(exported):
    found = quantized_tflite(exported.folder / "student.int8.tflite")
    products = exported.models["student.int8.tflite"].audit.int8_operators
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    assert len(found.layers) == sum(products.get(kind, 0) for kind in kinds)
    assert all(layer.sums_in_int32 and layer.bias is not None for layer in found.layers)
