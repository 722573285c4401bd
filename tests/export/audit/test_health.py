import numpy as np
import pytest
from tiny_models import write_onnx, write_tflite

from edgekd.errors import ExportError
from edgekd.export.audit.health import Layer, check_health, check_scales, check_sums


def layer(weights, bias=None, *, sums_in_int32=True):
    return Layer(
        name="conv",
        weights=np.int8(weights),
        bias=None if bias is None else np.int32(bias),
        sums_in_int32=sums_in_int32,
    )


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, 1e-39])
def test_scales_that_kernels_cannot_divide_by(scale):
    with pytest.raises(ExportError, match=r"m\.onnx: 'x' has the scale"):
        check_scales({"x": np.float32([1.0, scale])}, "m.onnx")
    check_scales({"x": np.float32([1.0, 1e-37])}, "m.onnx")


def test_the_largest_sum_fits_32_bits():
    # 2^31 - 1 - 255 * (3 + 2) is the largest bias that leaves room
    room = 2**31 - 1 - 255 * 5
    check_sums([layer([[3, -2]], [room])], "m")
    check_sums([layer([[3, -2]], [-room])], "m")
    with pytest.raises(ExportError, match="beyond 32 bits"):
        check_sums([layer([[0, 0], [3, -2]], [0, room + 1])], "m")
    check_sums([layer([[3, -2]], [room + 1], sums_in_int32=False)], "m")


def test_sums_without_a_bias():
    widest = np.full((1, 66312), 127)  # 127 * 255 * 66312 > 2^31 - 1
    with pytest.raises(ExportError, match="sums of 'conv' can reach 2,147,514,120"):
        check_sums([layer(widest)], "m")
    check_sums([layer(widest[:, 1:])], "m")


@pytest.mark.parametrize("write", [write_onnx, write_tflite])
def test_files_of_both_formats(write, tmp_path):
    suffix = write.__name__.removeprefix("write_")
    path = write(tmp_path / f"m.{suffix}", "int8-static")
    assert check_health(path) == {}
