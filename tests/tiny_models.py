"""The smallest files of both formats: one matrix product over a 2 x 2 RGB image.

``logits[k] = sum(WEIGHTS[k] * x) + BIAS[k]`` with x flattened in the file's own layout.
"""

from pathlib import Path

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

SIZE = 12  # 2 x 2 pixels, 3 channels
NUM_CLASSES = 3
WEIGHTS = (np.arange(NUM_CLASSES * SIZE, dtype=np.float32).reshape(NUM_CLASSES, SIZE) % 7 - 3) / 8
BIAS = np.array([0.5, -0.25, 0.125], dtype=np.float32)
WEIGHT_SCALE = 1 / 8  # the weights are multiples of 1/8: int8 holds them without any error
INPUT_SCALE, INPUT_ZERO_POINT = 1 / 16, -3
OUTPUT_SCALE, OUTPUT_ZERO_POINT = 1 / 4, 5


def write_onnx(path: Path, precision: str = "fp32", *, dtype: str = "float32", batch="batch"):
    """An ONNX file; ``precision`` is fp32, fp16, int8-static, int8-weights or int8-dynamic."""
    element = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}[dtype]
    image = helper.make_tensor_value_info("image", element, [batch, 3, 2, 2])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, NUM_CLASSES])
    flat = "pixels" if dtype == "uint8" else "image"
    nodes = [helper.make_node("Flatten", [flat], ["flat"])]
    if dtype == "uint8":
        nodes.insert(0, helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT))
    product, initializers = _PRODUCTS[precision]()
    nodes += [*product, helper.make_node("Add", ["product", "bias"], ["logits"])]
    initializers = {**initializers, "bias": BIAS}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [image],
        [logits],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def write_two_inputs(path: Path) -> Path:
    """An ONNX file of two sensors: ``logits[k] = sum(A[k] * acc) + sum(E[k] * env)``.

    ``acc`` is ``(B, 3, 4)``, ``env`` ``(B, 2, 1)``; A is ``WEIGHTS``, E its first two columns.
    """
    real = TensorProto.FLOAT
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Flatten", ["acc"], ["a"]),
            node("Flatten", ["env"], ["e"]),
            node("MatMul", ["a", "A"], ["from_acc"]),
            node("MatMul", ["e", "E"], ["from_env"]),
            node("Add", ["from_acc", "from_env"], ["logits"]),
        ],
        "two",
        [
            helper.make_tensor_value_info("acc", real, ["batch", 3, 4]),
            helper.make_tensor_value_info("env", real, ["batch", 2, 1]),
        ],
        [helper.make_tensor_value_info("logits", real, ["batch", NUM_CLASSES])],
        [
            numpy_helper.from_array(np.ascontiguousarray(values.T), name)
            for name, values in (("A", WEIGHTS), ("E", WEIGHTS[:, :2]))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _fp32():
    return [helper.make_node("MatMul", ["flat", "weights"], ["product"])], {"weights": WEIGHTS.T}


def _fp16():
    nodes = [
        helper.make_node("Cast", ["flat"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["half", "weights"], ["half_product"]),
        helper.make_node("Cast", ["half_product"], ["product"], to=TensorProto.FLOAT),
    ]
    return nodes, {"weights": WEIGHTS.T.astype(np.float16)}


def _quantized_weights():
    initializers = {
        "weights_q": np.rint(WEIGHTS.T / WEIGHT_SCALE).astype(np.int8),
        "weights_scale": np.float32(WEIGHT_SCALE),
        "weights_zero": np.int8(0),
    }
    node = helper.make_node(
        "DequantizeLinear", ["weights_q", "weights_scale", "weights_zero"], ["weights"]
    )
    return node, initializers


def _int8_weights():
    node, initializers = _quantized_weights()
    return [node, helper.make_node("MatMul", ["flat", "weights"], ["product"])], initializers


def _int8_static():
    node, initializers = _quantized_weights()
    parameters = ["x_scale", "x_zero"]
    nodes = [
        node,
        helper.make_node("QuantizeLinear", ["flat", *parameters], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", *parameters], ["x"]),
        helper.make_node("MatMul", ["x", "weights"], ["product"]),
    ]
    x = {"x_scale": np.float32(INPUT_SCALE), "x_zero": np.int8(INPUT_ZERO_POINT)}
    return nodes, {**initializers, **x}


def _int8_dynamic():
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["flat"], ["x_q", "x_scale", "x_zero"]),
        helper.make_node("MatMulInteger", ["x_q", "weights_q", "x_zero"], ["product_q"]),
        helper.make_node("Cast", ["product_q"], ["product_f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x_scale", "weights_scale"], ["scale"]),
        helper.make_node("Mul", ["product_f", "scale"], ["product"]),
    ]
    _, initializers = _quantized_weights()
    del initializers["weights_zero"]
    return nodes, initializers


_PRODUCTS = {
    "fp32": _fp32,
    "fp16": _fp16,
    "int8-static": _int8_static,
    "int8-weights": _int8_weights,
    "int8-dynamic": _int8_dynamic,
}


def write_tflite(path: Path, precision: str = "fp32"):
    """A TFLite file with input ``(1, 2, 2, 3)``; ``precision`` is fp32 or int8-static."""
    quantized = precision == "int8-static"
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs = [], [0], [4]
    real = schema.TensorType.INT8 if quantized else schema.TensorType.FLOAT32
    weights, bias, bias_type = WEIGHTS, BIAS, schema.TensorType.FLOAT32
    if quantized:
        weights = np.rint(WEIGHTS / WEIGHT_SCALE).astype(np.int8)
        bias = np.rint(BIAS / (INPUT_SCALE * WEIGHT_SCALE)).astype(np.int32)
        bias_type = schema.TensorType.INT32

    def add(name, shape, kind, data=None, scale=None, zero_point=0):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, kind, 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            tensor.buffer = len(model.buffers)
            model.buffers.append(buffer)
        if quantized and scale is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = [scale]
            tensor.quantization.zeroPoint = [zero_point]
        graph.tensors.append(tensor)

    add("image", [1, 2, 2, 3], real, None, INPUT_SCALE, INPUT_ZERO_POINT)
    add("flat", [1, SIZE], real, None, INPUT_SCALE, INPUT_ZERO_POINT)
    add("weights", [NUM_CLASSES, SIZE], real, weights, WEIGHT_SCALE)
    add("bias", [NUM_CLASSES], bias_type, bias, INPUT_SCALE * WEIGHT_SCALE)
    add("logits", [1, NUM_CLASSES], real, None, OUTPUT_SCALE, OUTPUT_ZERO_POINT)

    reshape = schema.OperatorT()
    reshape.opcodeIndex, reshape.inputs, reshape.outputs = 0, [0], [1]
    reshape.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    reshape.builtinOptions = schema.ReshapeOptionsT()
    reshape.builtinOptions.newShape = [1, SIZE]
    product = schema.OperatorT()
    product.opcodeIndex, product.inputs, product.outputs = 1, [1, 2, 3], [4]
    product.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    product.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators = [reshape, product]
    model.subgraphs = [graph]
    model.operatorCodes = [
        _operator(schema.BuiltinOperator.RESHAPE),
        _operator(schema.BuiltinOperator.FULLY_CONNECTED),
    ]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _operator(code: int):
    operator = schema.OperatorCodeT()
    operator.builtinCode = operator.deprecatedBuiltinCode = code
    operator.version = 1
    return operator
