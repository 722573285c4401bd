import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_models import SIZE, write_onnx

from edgekd.export.audit import audit_file

PRODUCT = SIZE * 3  # the tiny model's one matrix product


def save(path, nodes, initializers, *, inputs, outputs, opset=19):
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in group]
        for group in (inputs, outputs)
    ]
    stored = [numpy_helper.from_array(np.asarray(v), k) for k, v in initializers.items()]
    graph = helper.make_graph(nodes, "graph", *values, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("precision", "share"),
    [
        ("fp32", 0.0),
        ("fp16", 0.0),
        ("int8-static", 1.0),
        ("int8-weights", 0.0),
        ("int8-dynamic", 1.0),
    ],
)
def test_precision_and_macs_of_one_product(tmp_path, precision, share):
    facts = audit_file(write_onnx(tmp_path / "m.onnx", precision))
    assert facts.precision == precision
    assert facts.macs == PRODUCT
    assert facts.audit.int8_macs_share == share
    assert facts.audit.uncounted_operators == ()


def test_inputs_outputs_and_parameters(tmp_path):
    facts = audit_file(write_onnx(tmp_path / "m.onnx"))
    (image,), (logits,) = facts.inputs, facts.outputs
    assert (image.name, image.shape, image.dtype, image.layout) == (
        "image", ("batch", 3, 2, 2), "float32", "NCHW",
    )  # fmt: skip
    assert (logits.name, logits.shape, logits.layout) == ("logits", ("batch", 3), "NK")
    assert facts.num_params == PRODUCT + 3  # weights and bias


def test_convolutions_of_every_kind_by_hand(tmp_path):
    rng = np.random.default_rng(0)
    weights = {
        "dense": rng.standard_normal((8, 4, 3, 3), dtype=np.float32),
        "depthwise": rng.standard_normal((8, 1, 3, 3), dtype=np.float32),
        "up": rng.standard_normal((8, 2, 2, 2), dtype=np.float32),
        "matrix": rng.standard_normal((20, 5), dtype=np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "dense"], ["a"], pads=[1] * 4, strides=[2, 2]),  # 5 x 5
        helper.make_node("Conv", ["a", "depthwise"], ["b"], pads=[1] * 4, group=8),  # 5 x 5
        helper.make_node("ConvTranspose", ["b", "up"], ["c"], strides=[2, 2]),  # 2 x 10 x 10
        helper.make_node("Transpose", ["c"], ["d"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["d", "shape"], ["e"]),
        helper.make_node("Gemm", ["e", "matrix"], ["y"]),  # (10, 20) x (20, 5)
    ]
    path = save(
        tmp_path / "m.onnx", nodes, {**weights, "shape": np.array([10, 20])},
        inputs=[("x", ["batch", 4, 9, 9])], outputs=[("y", ["rows", "columns"])],
    )  # fmt: skip
    facts = audit_file(path)
    dense, depthwise = 8 * 25 * 4 * 9, 8 * 25 * 9
    up, matrix = 8 * 25 * 2 * 4, 10 * 20 * 5
    assert facts.macs == dense + depthwise + up + matrix
    assert facts.num_params == sum(w.size for w in weights.values())
    assert facts.audit.num_transposes == 1
    assert (facts.audit.num_operators, facts.audit.largest_rank) == (6, 4)
    assert facts.audit.float_operators["Conv"] == 2


def quantized(name, scale, zero):
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [f"{name}_q"]),
        helper.make_node("DequantizeLinear", [f"{name}_q", scale, zero], [f"{name}_dq"]),
    ]


def qdq_convolutions(path, *, whole):
    """Two convolutions of 36 MACs each; the second's output is quantized if ``whole``."""
    initializers = {
        "w_q": np.ones((1, 1, 2, 2), np.int8), "s": np.float32(1), "z": np.int8(0),
        "u": np.uint8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["w_q", "s", "z"], ["w"]),
        *quantized("x", "s", "u"),
        helper.make_node("Conv", ["x_dq", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        *quantized("r", "s", "u"),
        helper.make_node("Conv", ["r_dq", "w"], ["b"], pads=[1, 1, 0, 0]),
        *(quantized("b", "s", "u") if whole else []),
        helper.make_node("Sqrt", ["b_dq" if whole else "b"], ["y"]),
    ]
    ends = {"inputs": [("x", [1, 1, 4, 4])], "outputs": [("y", [1, 1, 3, 3])]}
    return save(path, nodes, initializers, **ends)


def test_a_convolution_in_qdq_form_is_int8(tmp_path):
    facts = audit_file(qdq_convolutions(tmp_path / "m.onnx", whole=True))
    assert (facts.precision, facts.macs) == ("int8-static", 72)
    assert facts.audit.int8_operators == {"Conv": 2, "Relu": 1}
    assert facts.audit.float_operators == {"Sqrt": 1}
    assert facts.num_params == 4


def test_a_convolution_whose_output_is_not_quantized_runs_in_float(tmp_path):
    facts = audit_file(qdq_convolutions(tmp_path / "m.onnx", whole=False))
    assert (facts.precision, facts.audit.int8_macs_share) == ("int8-mixed", 0.5)
    assert facts.audit.int8_operators == {"Conv": 1, "Relu": 1}
    assert facts.audit.float_operators == {"Conv": 1, "Sqrt": 1}


def test_what_cannot_be_counted_is_named(tmp_path):
    nodes = [
        helper.make_node("Einsum", ["x", "x"], ["a"], equation="bi,bj->bij"),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    path = save(
        tmp_path / "m.onnx", nodes, {"w": np.ones((4, 2), np.float32)},
        inputs=[("x", ["batch", 4])], outputs=[("y", ["batch", 4, 2])],
    )  # fmt: skip
    facts = audit_file(path)
    assert facts.audit.uncounted_operators == ("Einsum",)
    assert facts.macs == 4 * 4 * 2
