import pytest
from tiny_models import INPUT_SCALE, INPUT_ZERO_POINT, SIZE, write_tflite

from edgekd.errors import BundleError
from edgekd.export.audit import audit_file
from edgekd.export.audit.tflite_graph import _MULTIPLYING, _kind

PRODUCT = SIZE * 3


@pytest.mark.parametrize(("precision", "share"), [("fp32", 0.0), ("int8-static", 1.0)])
def test_precision_and_macs_of_one_product(tmp_path, precision, share):
    facts = audit_file(write_tflite(tmp_path / "m.tflite", precision))
    assert (facts.precision, facts.macs, facts.audit.int8_macs_share) == (precision, PRODUCT, share)
    assert facts.num_params == PRODUCT + 3
    operators = facts.audit.int8_operators if share else facts.audit.float_operators
    assert operators["FULLY_CONNECTED"] == 1
    assert facts.audit.num_operators == sum(operators.values())
    assert facts.audit.largest_rank == 2


def test_scale_and_zero_point_of_a_quantized_input(tmp_path):
    (image,) = audit_file(write_tflite(tmp_path / "m.tflite", "int8-static")).inputs
    assert (image.scale, image.zero_point) == (INPUT_SCALE, INPUT_ZERO_POINT)


@pytest.mark.parametrize(
    ("operator", "x", "w", "out", "macs"),
    [
        ("CONV_2D", (1, 9, 9, 4), (8, 3, 3, 4), (1, 5, 5, 8), 8 * 25 * 4 * 9),
        ("CONV_2D", (1, 5, 5, 8), (8, 3, 3, 4), (1, 5, 5, 8), 8 * 25 * 4 * 9),  # two groups
        ("DEPTHWISE_CONV_2D", (1, 5, 5, 8), (1, 3, 3, 8), (1, 5, 5, 8), 8 * 25 * 9),
        ("TRANSPOSE_CONV", (1, 5, 5, 8), (2, 2, 2, 8), (1, 10, 10, 2), 8 * 25 * 2 * 4),
        ("CONV_3D", (1, 4, 4, 4, 2), (2, 2, 2, 2, 3), (1, 3, 3, 3, 3), 27 * 3 * 8 * 2),
        ("FULLY_CONNECTED", (10, 20), (5, 20), (10, 5), 10 * 20 * 5),
        ("BATCH_MATMUL", (2, 6, 4), (2, 4, 3), (2, 6, 3), 2 * 6 * 4 * 3),
        ("BATCH_MATMUL", (2, 4, 6), (2, 3, 4), (2, 6, 3), 2 * 6 * 4 * 3),  # both transposed
    ],
)
def test_macs_by_hand(operator, x, w, out, macs):
    assert _MULTIPLYING[operator].formula(x, w, out) == macs


@pytest.mark.parametrize(
    ("activation", "weights", "stored", "kind"),
    [
        ("int8", "int8", None, "int8"),
        ("float32", "int8", None, "int8-dynamic"),
        ("float32", "float32", "int8", "int8-weights"),
        ("float32", "float32", "float16", "fp16"),
        ("float32", "float32", None, "fp32"),
    ],
)
def test_kind_of_a_product_from_its_operands(activation, weights, stored, kind):
    assert _kind(activation, weights, stored) == kind


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"\x1c\0\0\0TFL3" + b"\xff" * 64])
def test_what_is_not_tflite_is_a_bundle_error(tmp_path, content):
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(BundleError):
        audit_file(path)
