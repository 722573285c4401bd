from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

from edgekd.errors import ExportError
from edgekd.export.onnx_file import run_onnx
from edgekd.export.quantization import onnx_int8
from edgekd.export.quantization.onnx_int8 import (
    nodes_before_the_network,
    quantize_onnx,
    this_processor,
)


def convolution(*, raw=False):
    """A 3-channel 1 x 1 convolution, optionally on raw pixels scaled by 1/255 and shifted."""
    rng = np.random.default_rng(0)
    stored = {
        "w": rng.standard_normal((4, 3, 1, 1), dtype=np.float32),
        "scale": np.full((3, 1, 1), 1 / 255, np.float32),
        "shift": np.full((3, 1, 1), -0.5, np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Mul", ["b", "scale4"], ["c"], name="late"),
        helper.make_node("Flatten", ["c"], ["logits"], name="flatten"),
    ]
    stored["scale4"] = np.float32([2.0])
    if raw:
        nodes = [
            helper.make_node("Cast", ["image"], ["f"], to=TensorProto.FLOAT, name="cast"),
            helper.make_node("Mul", ["f", "scale"], ["m"], name="mul"),
            helper.make_node("Add", ["m", "shift"], ["x"], name="add"),
            *nodes,
        ]
    else:
        nodes[0].input[0] = "image"
    kind = TensorProto.UINT8 if raw else TensorProto.FLOAT
    image = helper.make_tensor_value_info("image", kind, ["batch", 3, 4, 4])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 64])
    used = {name for node in nodes for name in node.input}
    initializers = [numpy_helper.from_array(v, k) for k, v in stored.items() if k in used]
    graph = helper.make_graph(nodes, "g", [image], [logits], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_only_the_normalisation_of_raw_pixels_stays_in_float():
    assert nodes_before_the_network(convolution(raw=True)) == ["cast", "mul", "add"]
    assert nodes_before_the_network(convolution()) == []


@pytest.mark.parametrize("raw", [False, True])
def test_the_int8_answer_is_within_its_rounding(raw):
    rng = np.random.default_rng(1)
    shape = (32, 3, 4, 4)
    x = rng.integers(0, 256, shape, np.uint8) if raw else rng.standard_normal(shape, np.float32)
    model = convolution(raw=raw)
    expected = run_onnx(model, {"image": x})
    quantized, notes = quantize_onnx(model, {"image": x})
    found = run_onnx(quantized, {"image": x})
    step = float(np.abs(expected).max()) / 255
    assert float(np.abs(found - expected).max()) < 4 * step
    assert notes[0].startswith(f"int8 types for {this_processor()} (this machine): ")
    first = next(node for node in quantized.graph.node if node.op_type == "QuantizeLinear")
    assert first.input[0] == ("x" if raw else "image")


def test_weights_have_a_scale_per_channel():
    quantized, _ = quantize_onnx(convolution(), {"image": np.ones((4, 3, 4, 4), np.float32)})
    scales = [i for i in quantized.graph.initializer if i.name.startswith("w_") and i.dims == [4]]
    assert scales


@pytest.mark.parametrize(
    ("machine", "flags", "processor", "activations", "reduce_range"),
    [
        ("aarch64", "", "arm", QuantType.QInt8, False),
        ("x86_64", "flags: avx2 avx512_vnni", "x86-vnni", QuantType.QUInt8, False),
        ("x86_64", "flags: avx2 avx_vnni", "x86-vnni", QuantType.QUInt8, False),
        ("x86_64", "flags: avx2", "x86", QuantType.QUInt8, True),
    ],
)
def test_types_follow_the_processor(
    monkeypatch, machine, flags, processor, activations, reduce_range
):
    monkeypatch.setattr(onnx_int8.platform, "machine", lambda: machine)
    monkeypatch.setattr(Path, "read_text", lambda self: flags)
    assert this_processor() == processor
    types = onnx_int8._TYPES[processor]
    assert (types.activations, types.reduce_range) == (activations, reduce_range)


def test_a_quantizer_that_fails_is_one_error():
    with pytest.raises(ExportError, match="cannot quantize the student"):
        quantize_onnx(convolution(), {"wrong": np.ones((1, 3, 4, 4), np.float32)})


def test_all_samples_set_the_ranges_whatever_the_batching(monkeypatch):
    x = np.zeros((5, 3, 4, 4), np.float32)
    x[4] = 10.0  # alone in the last batch of two
    monkeypatch.setattr(onnx_int8, "_BATCH", 2)
    quantized, _ = quantize_onnx(convolution(), {"image": x})
    scale = next(i for i in quantized.graph.initializer if i.name == "image_scale")
    assert numpy_helper.to_array(scale) == pytest.approx(10 / 255)
