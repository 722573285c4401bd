import numpy as np
import pytest
from tiny_models import INPUT_SCALE, WEIGHT_SCALE, WEIGHTS, write_onnx

from edgekd.export.audit.onnx_health import quantized_onnx


@pytest.mark.parametrize(
    ("precision", "scales", "sums_in_int32"),
    [
        ("int8-static", {"weights_scale": WEIGHT_SCALE, "x_scale": INPUT_SCALE}, True),
        ("int8-dynamic", {}, True),
    ],
)
def test_scales_and_weights_of_one_product(tmp_path, precision, scales, sums_in_int32):
    found = quantized_onnx(write_onnx(tmp_path / "m.onnx", precision))
    assert {name: float(values[0]) for name, values in found.scales.items()} == scales
    (layer,) = found.layers
    np.testing.assert_array_equal(layer.weights, WEIGHTS / WEIGHT_SCALE)
    assert (layer.bias, layer.sums_in_int32) == (None, sums_in_int32)


def test_nothing_is_quantized_in_fp32(tmp_path):
    found = quantized_onnx(write_onnx(tmp_path / "m.onnx"))
    assert (found.scales, found.layers) == ({}, ())


def test_every_product_of_a_real_file(exported):
    found = quantized_onnx(exported.folder / "student.int8.onnx")
    products = exported.models["student.int8.onnx"].audit.int8_operators
    count = sum(products.get(name, 0) for name in ("Conv", "Gemm", "MatMul"))
    assert len(found.layers) == count
    assert all(layer.sums_in_int32 for layer in found.layers)
