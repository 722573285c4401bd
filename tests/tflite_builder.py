"""TFLite files of a few operators, written one by one."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


class TfliteBuilder:
    """A file with one input ``x``, tensor 0, in float32.

    Args:
        shape: Of the input.
    """

    def __init__(self, shape):
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers = 3, [schema.BufferT()]
        self.model.operatorCodes, self._codes = [], []
        self.graph.tensors, self.graph.operators, self.graph.inputs = [], [], [0]
        self.tensor("x", shape)

    def tensor(self, name, shape, values=None):
        """A new tensor's index; with values it is a constant, int32 or float32."""
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, list(shape), 0
        if values is not None:
            kinds = {"int32": schema.TensorType.INT32, "float32": schema.TensorType.FLOAT32}
            made.type, made.buffer = kinds[values.dtype.name], len(self.model.buffers)
            buffer = schema.BufferT()
            buffer.data = values.reshape(-1).view(np.uint8)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def constant(self, name, values):
        """A constant's index."""
        return self.tensor(name, values.shape, values)

    def operator(self, kind, inputs, output):
        """One more operator, without options."""
        if kind not in self._codes:
            code = schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
            code.version = 1
            self._codes.append(kind)
            self.model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = self._codes.index(kind), inputs, [output]
        self.graph.operators.append(made)

    def content(self, *outputs):
        """The file, with these tensors as outputs; its signature names them after themselves."""
        self.graph.outputs = list(outputs)
        self.model.subgraphs = [self.graph]
        signature = schema.SignatureDefT()
        signature.signatureKey = "serving_default"
        signature.inputs = [self._named(0)]
        signature.outputs = [self._named(index) for index in outputs]
        self.model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _named(self, index):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = self.graph.tensors[index].name, index
        return entry
