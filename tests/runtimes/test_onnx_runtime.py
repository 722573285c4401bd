import numpy as np
import pytest
from tiny_models import BIAS, WEIGHTS, write_onnx

from edgekd.errors import BundleError
from edgekd.runtimes.encoding import InputEncoding
from edgekd.runtimes.session import open_session

ENCODING = InputEncoding(
    name="image", kind="image", mean=(0.5,) * 3, std=(0.25,) * 3, layout="NCHW"
)
PIXELS = np.arange(36, dtype=np.uint8).reshape(3, 2, 2, 3) * 7
FLAT = ((PIXELS / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2).reshape(3, -1)
LOGITS = FLAT @ WEIGHTS.T + BIAS  # float64, by numpy


def run(path, pixels=PIXELS, encoding=ENCODING):
    session = open_session(path, num_threads=1, encodings=[encoding])
    return session.decode(session.invoke(session.encode([pixels])))


def test_a_dynamic_batch_gives_the_logits_of_numpy(tmp_path):
    path = write_onnx(tmp_path / "m.onnx")
    np.testing.assert_allclose(run(path), LOGITS, atol=1e-5)
    np.testing.assert_allclose(run(path, PIXELS[:1]), LOGITS[:1], atol=1e-5)


def test_raw_pixels_go_in_as_they_are(tmp_path):
    raw = InputEncoding(
        name="image", kind="image", mean=(0.0,) * 3, std=(1.0,) * 3, layout="NCHW", raw=True
    )
    logits = run(write_onnx(tmp_path / "m.onnx", dtype="uint8"), encoding=raw)
    expected = PIXELS.transpose(0, 3, 1, 2).reshape(3, -1) @ WEIGHTS.T + BIAS
    np.testing.assert_allclose(logits, expected, rtol=1e-6)


def test_int8_is_within_half_a_step_of_the_input_times_the_weights(tmp_path):
    logits = run(write_onnx(tmp_path / "m.onnx", "int8-static"))
    # the weights are exact in int8; each of 12 inputs is off by at most scale / 2 = 1 / 32
    bound = np.abs(WEIGHTS).sum(axis=1) / 32 + 1e-5
    assert (np.abs(logits - LOGITS) <= bound).all()


def test_inputs_and_outputs_are_described(tmp_path):
    session = open_session(write_onnx(tmp_path / "m.onnx"), num_threads=1)
    (image,), (logits,) = session.inputs, session.outputs
    assert (image.name, image.shape, image.dtype, image.layout) == (
        "image", (None, 3, 2, 2), "float32", "NCHW",
    )  # fmt: skip
    assert (logits.name, logits.shape) == ("logits", (None, 3))
    assert session.precision() == "fp32"


@pytest.mark.parametrize("keep", [0, 1, 100, -20])
def test_damaged_files_are_one_line(tmp_path, keep):
    whole = write_onnx(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "m.onnx"
    path.write_bytes(whole[:keep])
    with pytest.raises(BundleError, match="onnxruntime cannot load it") as caught:
        open_session(path, num_threads=1)
    assert "\n" not in str(caught.value)
