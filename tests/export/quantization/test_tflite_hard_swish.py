import numpy as np
import pytest
from tflite_builder import TfliteBuilder

from edgekd.export.audit import audit_file
from edgekd.export.quantization.candidates import answers
from edgekd.export.quantization.tflite_hard_swish import with_fast_hard_swish
from edgekd.export.quantization.tflite_quantizer import TfliteQuantizer
from edgekd.export.quantization.units import prefer
from edgekd.export.sqnr import sqnr_db
from edgekd.export.tflite_schema import operator_name, parse_tflite

SHAPE = (1, 4, 4, 8)


@pytest.fixture
def fp32(tmp_path):
    made = TfliteBuilder(SHAPE)
    scaled, answer = made.tensor("scaled", SHAPE), made.tensor("answer", SHAPE)
    made.operator("MUL", [0, made.constant("w", np.float32([2.0]))], scaled)
    made.operator("HARD_SWISH", [scaled], answer)
    path = tmp_path / "fp32.tflite"
    path.write_bytes(made.content(answer))
    return path


def images(count=8, seed=0):
    return {"x": np.random.default_rng(seed).uniform(-4, 4, (count, *SHAPE[1:])).astype(np.float32)}


def quantized(fp32, limit):
    quantizer, path = TfliteQuantizer(fp32), fp32.with_name(f"int8-{limit}.tflite")
    ranges = {"x": (-limit, limit), "scaled": (-2 * limit, 2 * limit), "answer": (-0.4, 2 * limit)}
    quantizer.write(prefer(quantizer.units, "static"), ranges, path)
    return path


def test_it_computes_the_same_in_operators_that_are_fast(fp32):
    path = quantized(fp32, 4.0)
    kinds = audit_file(path).audit.int8_operators
    assert kinds == {"ADD": 1, "MUL": 3}
    x = images()["x"]
    expected = 2 * x * np.clip(2 * x / 6 + 0.5, 0, 1)
    found = answers(path, {"x": x}, batch=1).reshape(x.shape)
    assert sqnr_db(expected, found) > 35
    step = 8.4 / 255
    # half a step of the answer, and of what it is made from: at most the slope of 1.5 at the end
    assert np.abs(found - expected).max() < 2.5 * step


def test_zero_stays_zero_and_the_ends_are_exact(fp32):
    path = quantized(fp32, 4.0)
    x = np.zeros((1, *SHAPE[1:]), np.float32)
    x[0, 0, 0, :4] = (-4.0, -1.5, 1.5, 4.0)  # hard swish of twice that: 0, 0, 3, 8
    (found,) = answers(path, {"x": x}, batch=1)
    np.testing.assert_allclose(found[:4], (0, 0, 3, 8), atol=0.05)
    assert not found[4:].any()


def test_scales_that_the_kernels_do_not_take_leave_the_operator_as_it_is(fp32):
    assert audit_file(quantized(fp32, 1e-3)).audit.int8_operators == {"HARD_SWISH": 1, "MUL": 1}


def test_a_file_without_it_is_left_alone_byte_for_byte(fp32):
    content = fp32.read_bytes()  # its hard swish is in float
    assert with_fast_hard_swish(content) is content


def test_every_tensor_keeps_its_own_scale(fp32):
    model = parse_tflite(quantized(fp32, 4.0).read_bytes(), source="")
    graph = model.subgraphs[0]
    (addition,) = [op for op in graph.operators if operator_name(model, op) == "ADD"]
    (division,) = [op for op in graph.operators if op.outputs[0] == addition.inputs[0]]
    places = (division.inputs[0], addition.inputs[0], addition.outputs[0])
    whole, sixth, gate = (float(graph.tensors[i].quantization.scale[0]) for i in places)
    assert (sixth, gate) == pytest.approx((whole / 6, 1 / 255))
