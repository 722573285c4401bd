import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.export.onnx_file import run_onnx
from edgekd.export.quantization.onnx_rewrites import name_nodes, rewrite_for_int8


def with_mean(axes, *, keep, shape=("batch", 3, 4, 5)):
    """A sigmoid, and the mean of it."""
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"]),
        helper.make_node("ReduceMean", ["s", "axes"], ["y"], keepdims=int(keep), name="mean"),
    ]
    ends = [
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    ]
    stored = [numpy_helper.from_array(np.int64(axes), "axes")]
    graph = helper.make_graph(nodes, "mean", *ends, stored)
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def kinds(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
@pytest.mark.parametrize("keep", [True, False])
def test_a_mean_over_an_image_is_a_pooling_that_answers_the_same(axes, keep):
    model = with_mean(axes, keep=keep)
    rewritten = rewrite_for_int8(model)
    assert kinds(rewritten) == ["Sigmoid", "GlobalAveragePool", *([] if keep else ["Flatten"])]
    assert kinds(model) == ["Sigmoid", "ReduceMean"]  # untouched
    x = {"x": np.random.default_rng(0).standard_normal((2, 3, 4, 5), np.float32)}
    np.testing.assert_allclose(run_onnx(rewritten, x), run_onnx(model, x), rtol=1e-6)


@pytest.mark.parametrize(
    ("axes", "shape"), [([1], (2, 3, 4, 5)), ([1, 2, 3], (2, 3, 4, 5)), ([1, 2], (2, 3, 4))]
)
def test_another_mean_stays(axes, shape):
    assert "ReduceMean" in kinds(rewrite_for_int8(with_mean(axes, keep=True, shape=shape)))


def test_every_node_gets_a_name_of_its_own():
    model = with_mean([2, 3], keep=True)
    model.graph.node[0].name = "mean"
    name_nodes(model)
    assert [node.name for node in model.graph.node] == ["mean", "y"]
