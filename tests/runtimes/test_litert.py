import numpy as np
import pytest
from tiny_models import BIAS, INPUT_SCALE, OUTPUT_SCALE, WEIGHTS, write_tflite

from edgekd.errors import BundleError
from edgekd.runtimes.encoding import InputEncoding
from edgekd.runtimes.litert import _operator_kinds
from edgekd.runtimes.session import open_session

ENCODING = InputEncoding(
    name="image", kind="image", mean=(0.5,) * 3, std=(0.25,) * 3, layout="NHWC"
)
PIXELS = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3) * 21
LOGITS = ((PIXELS / 255 - 0.5) / 0.25).reshape(1, -1) @ WEIGHTS.T + BIAS  # float64, by numpy


def run(path):
    session = open_session(path, num_threads=1, encodings=[ENCODING])
    return session.decode(session.invoke(session.encode([PIXELS])))


def test_fp32_gives_the_logits_of_numpy(tmp_path):
    np.testing.assert_allclose(run(write_tflite(tmp_path / "m.tflite")), LOGITS, atol=1e-5)


def test_int8_inputs_and_outputs_go_through_their_scales(tmp_path):
    logits = run(write_tflite(tmp_path / "m.tflite", "int8-static"))
    # half a step of each input times its weight, half a step of the output, half of the bias
    bound = np.abs(WEIGHTS).sum(axis=1) * INPUT_SCALE / 2 + OUTPUT_SCALE / 2 + 0.004
    assert (np.abs(logits - LOGITS) <= bound).all()
    assert (logits / OUTPUT_SCALE == np.rint(logits / OUTPUT_SCALE)).all()


@pytest.mark.parametrize("precision", ["fp32", "int8-static"])
def test_precision_is_told_from_the_operators(tmp_path, precision):
    path = write_tflite(tmp_path / "m.tflite", precision)
    assert open_session(path, num_threads=1).precision() == precision


@pytest.mark.parametrize(
    ("activation", "weights", "stored", "kind"),
    [
        ("float32", "float32", None, "fp32"),
        ("float32", "float32", "int8", "int8-weights"),
        ("float32", "float32", "float16", "fp16"),
        ("float32", "int8", None, "int8-dynamic"),
        ("int8", "int8", None, "int8"),
    ],
)
def test_an_operator_is_what_its_operands_are(activation, weights, stored, kind):
    types = {0: np.dtype(activation), 1: np.dtype(weights), 2: np.dtype(stored or "int8")}
    operators = [{"op_name": "CONV_2D", "inputs": [0, 1], "outputs": [9]}]
    if stored is not None:
        operators.insert(0, {"op_name": "DEQUANTIZE", "inputs": [2], "outputs": [1]})
    assert _operator_kinds(operators, types) == [kind]


def test_inputs_and_outputs_are_described(tmp_path):
    session = open_session(write_tflite(tmp_path / "m.tflite", "int8-static"), num_threads=2)
    (image,) = session.inputs
    assert (image.shape, image.dtype, image.layout) == ((1, 2, 2, 3), "int8", "NHWC")
    assert (image.scale, image.zero_point) == (1 / 16, -3)


@pytest.mark.parametrize("keep", [0, 1, 100, -20])
def test_damaged_files_are_one_line(tmp_path, keep):
    whole = write_tflite(tmp_path / "whole.tflite").read_bytes()
    path = tmp_path / "m.tflite"
    path.write_bytes(whole[:keep])
    with pytest.raises(BundleError, match="litert cannot load it") as caught:
        open_session(path, num_threads=1)
    assert "\n" not in str(caught.value)


def test_a_damaged_tensor_name_is_one_line(tmp_path):
    path = write_tflite(tmp_path / "m.tflite")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"weights", b"w\xd9ights"))
    with pytest.raises(BundleError, match=r"litert cannot read it .*utf-8"):
        open_session(path, num_threads=1).precision()
    path.write_bytes(content.replace(b"logits", b"l\xd9gits"))
    with pytest.raises(BundleError, match=r"litert cannot load it .*utf-8"):
        open_session(path, num_threads=1)
