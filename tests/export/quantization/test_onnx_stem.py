import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.export.onnx_file import run_onnx
from edgekd.export.quantization.onnx_stem import pad_stem_channels


def qdq_convolution(channels, *, group=1, readers=1):
    """One quantized 3 x 3 convolution of a ``channels``-channel image; zero point 7, not 0."""
    rng = np.random.default_rng(0)
    stored = {
        "w_q": rng.integers(-127, 128, (4 * group, channels // group, 3, 3)).astype(np.int8),
        "x_s": np.float32(0.05), "x_z": np.uint8(7), "w_s": np.float32(0.01), "w_z": np.int8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "x_s", "x_z"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "x_s", "x_z"], ["x"]),
        helper.make_node("DequantizeLinear", ["w_q", "w_s", "w_z"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4, group=group),
        helper.make_node("Flatten", ["a"], ["logits"]),
    ]
    if readers == 2:
        nodes.append(helper.make_node("Identity", ["x"], ["other"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", channels, 5, 5])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 100 * group])
    graph = helper.make_graph(
        nodes, "g", [image], [logits], [numpy_helper.from_array(v, k) for k, v in stored.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_padding_changes_no_bit_of_the_output(channels):
    model, padded = qdq_convolution(channels), qdq_convolution(channels)
    assert pad_stem_channels(padded)
    onnx.checker.check_model(padded, full_check=True)
    weights = next(item for item in padded.graph.initializer if item.name == "w_q")
    assert list(weights.dims) == [4, 4, 3, 3]
    for batch in (1, 3):
        x = np.random.default_rng(1).standard_normal((batch, channels, 5, 5), dtype=np.float32)
        assert np.array_equal(run_onnx(model, {"image": x}), run_onnx(padded, {"image": x}))


@pytest.mark.parametrize(
    "options", [{"channels": 4}, {"channels": 2, "group": 2}, {"channels": 3, "readers": 2}]
)
def test_what_gains_nothing_or_is_read_elsewhere_is_left_alone(options):
    model = qdq_convolution(**options)
    before = model.SerializeToString()
    assert not pad_stem_channels(model)
    assert model.SerializeToString() == before


def test_a_graph_without_convolutions_is_left_alone():
    model = qdq_convolution(3)
    del model.graph.node[:]
    assert not pad_stem_channels(model)
