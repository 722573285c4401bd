"""A small fp32 TFLite file with what int8 stumbles over.

The input is padded before the first convolution, one output channel of it has no weights but a
bias, and the second convolution is dead: behind its ReLU it adds nothing but zeros.
"""

from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

SHAPE = (6, 6, 2)
CHANNELS = 4
DEAD, BIAS = 3, 0.5  # the channel without weights, and its bias
SILENT = -1000.0  # the bias of the dead convolution


def write_small_tflite(path: Path) -> Path:
    """Write the file; its input is ``image`` and its answer ``logits`` of 144 values."""
    rng = np.random.default_rng(0)
    model = schema.ModelT()
    model.version, model.buffers, model.operatorCodes = 3, [schema.BufferT()], []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [], [], [0], []
    kinds = {np.dtype("float32"): schema.TensorType.FLOAT32, np.dtype("int32"): 2}

    def tensor(name, shape, data=None):
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, list(shape), 0
        made.type = schema.TensorType.FLOAT32 if data is None else kinds[data.dtype]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            made.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def constant(name, values):
        return tensor(name, values.shape, values)

    def operator(name, inputs, output, options=None):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 1
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = len(model.operatorCodes), inputs, [output]
        if options is not None:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            made.builtinOptions = options
        model.operatorCodes.append(code)
        graph.operators.append(made)

    def convolution(x, weights, bias, output, activation=schema.ActivationFunctionType.NONE):
        options = schema.Conv2DOptionsT()
        options.fusedActivationFunction = activation
        options.padding = schema.Padding.VALID
        options.strideH = options.strideW = 1
        options.dilationHFactor = options.dilationWFactor = 1
        operator("CONV_2D", [x, weights, bias], output, options)

    first = rng.standard_normal((CHANNELS, 3, 3, 2)).astype(np.float32)
    first[DEAD] = 0
    biases = np.float32([0.1, -0.1, 0.2, BIAS])
    second = rng.standard_normal((CHANNELS, 1, 1, CHANNELS)).astype(np.float32)
    height, width, depth = SHAPE
    image = tensor("image", (1, *SHAPE))
    padded = tensor("padded", (1, height + 2, width + 2, depth))
    made = [tensor(name, (1, height, width, CHANNELS)) for name in ("first", "second", "sum")]
    size = height * width * CHANNELS
    logits = tensor("logits", (1, size))
    pads = constant("pads", np.int32([[0, 0], [1, 1], [1, 1], [0, 0]]))
    operator("PAD", [image, pads], padded, schema.PadOptionsT())
    convolution(padded, constant("w1", first), constant("b1", biases), made[0])
    silent = constant("b2", np.full(CHANNELS, SILENT, np.float32))
    relu = schema.ActivationFunctionType.RELU
    convolution(made[0], constant("w2", second), silent, made[1], relu)
    operator("ADD", made[:2], made[2], schema.AddOptionsT())
    operator("RESHAPE", [made[2], constant("shape", np.int32([1, size]))], logits)
    graph.outputs = [logits]
    model.subgraphs = [graph]
    model.signatureDefs = [_signature(image, logits)]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def _signature(image, logits):
    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    signature.inputs, signature.outputs = [], []
    for entries, name, index in (
        (signature.inputs, "image", image),
        (signature.outputs, "logits", logits),
    ):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, index
        entries.append(entry)
    return signature
