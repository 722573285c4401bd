"""A small network with every operator the writer treats in a way of its own."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = (3, 16, 16)


def small_network(*, raw=False):
    """Convolutions, hard swish, SiLU, a mean over the image, two matrix products."""
    rng = np.random.default_rng(0)

    def weights(*shape):
        return (rng.standard_normal(shape) / np.prod(shape[1:]) ** 0.5).astype(np.float32)

    stored = {
        "w1": weights(16, 3, 3, 3), "b1": weights(16), "w2": weights(16, 1, 3, 3),
        "b2": weights(16), "w3": weights(32, 16, 1, 1), "w4": weights(32, 32), "b4": weights(32),
        "wg": weights(10, 32), "bg": weights(10), "axes": np.array([2, 3]),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1] * 4, strides=[2, 2]),
        node("HardSwish", ["c1"], ["h1"]),
        node("Conv", ["h1", "w2", "b2"], ["c2"], pads=[1] * 4, group=16),
        node("Relu", ["c2"], ["r2"]),
        node("Conv", ["r2", "w3"], ["c3"]),
        node("Sigmoid", ["c3"], ["s3"]),
        node("Mul", ["c3", "s3"], ["m3"]),
        node("ReduceMean", ["m3", "axes"], ["p"], keepdims=0),
        node("MatMul", ["p", "w4"], ["mm"]),
        node("Add", ["mm", "b4"], ["a"]),
        node("Relu", ["a"], ["ra"]),
        node("Gemm", ["ra", "wg", "bg"], ["logits"], transB=1),
    ]
    kind = TensorProto.FLOAT
    if raw:
        kind = TensorProto.UINT8
        stored |= {
            "k": np.full((3, 1, 1), 1 / 64, np.float32),
            "d": np.float32([-2]).reshape(1, 1, 1),
        }
        nodes = [
            node("Cast", ["image"], ["f"], to=TensorProto.FLOAT, name="cast"),
            node("Mul", ["f", "k"], ["m"], name="mul"),
            node("Add", ["m", "d"], ["x"], name="add"),
            *nodes,
        ]
    else:
        nodes[0].input[0] = "image"
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", kind, ["batch", *SHAPE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def write_small_network(path: Path, *, raw=False) -> Path:
    onnx.save(small_network(raw=raw), path)
    return path


def samples(count=48, *, raw=False, seed=1):
    rng = np.random.default_rng(seed)
    shape = (count, *SHAPE)
    if raw:
        return {"image": rng.integers(0, 256, shape, np.uint8)}
    return {"image": rng.standard_normal(shape, np.float32)}
