"""Reading and writing TFLite's flatbuffer through the schema that ai-edge-litert ships."""

from pathlib import Path
from typing import Any, Final

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from edgekd.errors import BundleError, ExportError, MissingExtraError

try:
    from ai_edge_litert import schema_py_generated as schema
except ModuleNotFoundError as missing:
    raise MissingExtraError(
        "ai-edge-litert", extra="bench", purpose="read TFLite files"
    ) from missing

_IDENTIFIER: Final = b"TFL3"
_SIZE_LIMIT: Final = (1 << 31) - (1 << 20)
_ALIGNMENT: Final = 16  # force_align of Buffer.data in the schema
_OPERATORS: Final = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
BUILTIN_OPERATORS: Final = frozenset(_OPERATORS.values()) - {"CUSTOM"}
"""Names of the schema's operators; any other name is a custom operator's."""

WITH_WEIGHTS: Final = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
"""Operators whose second input may be constant weights and whose third is a bias."""

_TYPES: Final = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}


def metadata_entry(name: str, buffer: int) -> Any:
    """A named reference to a buffer, for ``ModelT.metadata``."""
    return schema.MetadataT(name=name.encode(), buffer=buffer)


class AlignedBuffer(schema.BufferT):  # type: ignore[misc]  # the schema is untyped
    """A buffer whose data lies on 16 bytes, as the schema demands and its packer forgets."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the schema's own name
        """Write the data aligned, then the table."""
        if self.data is None:
            return super().Pack(builder)
        data = np.asarray(self.data, dtype=np.uint8).tobytes()
        builder.StartVector(1, len(data), _ALIGNMENT)
        builder.head -= len(data)
        builder.Bytes[builder.Head() : builder.Head() + len(data)] = data
        vector = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


def constant_bytes(model: Any, tensor: Any) -> NDArray[np.uint8] | None:
    """What a tensor holds from the beginning, as bytes; ``None`` of what is computed or fed."""
    data = model.buffers[tensor.buffer].data
    return None if data is None or not len(data) else np.asarray(data, np.uint8)


def read_tflite(path: Path) -> Any:
    """A file as the schema's ``ModelT``.

    Raises:
        BundleError: If it is not a well-formed TFLite file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_tflite(content, source=str(path))


def parse_tflite(content: bytes, *, source: str) -> Any:
    """As :func:`read_tflite`, from bytes; ``source`` names them in an error."""
    if content[4:8] != _IDENTIFIER:
        raise BundleError(f"{source}: not a TFLite file; expected the identifier TFL3 in it")
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        _inline(model, content)
        _check(model)
    except Exception as error:  # a damaged offset surfaces as any of a dozen types
        raise BundleError(f"{source}: damaged TFLite file; export it again") from error
    return model


def pack_tflite(model: Any) -> bytes:
    """A ``ModelT`` of :func:`parse_tflite` as a file, with its buffers aligned.

    Raises:
        ExportError: If it would be larger than a flatbuffer can be, 2 GiB.
    """
    if sum(len(b.data) for b in model.buffers if b.data is not None) > _SIZE_LIMIT:
        raise ExportError("a TFLite file of more than 2 GiB cannot carry metadata")
    for buffer in model.buffers:
        buffer.__class__ = AlignedBuffer
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def operator_name(model: Any, operator: Any) -> str:
    """``CONV_2D``, or a custom operator's own name."""
    code = model.operatorCodes[operator.opcodeIndex]
    # two fields: operators numbered over 127 do not fit the older one
    name: str = _OPERATORS[max(code.builtinCode, code.deprecatedBuiltinCode)]
    return str(code.customCode.decode()) if name == "CUSTOM" and code.customCode else name


def type_name(tensor: Any) -> str:
    """``float32``, ``int8``, ..."""
    return str(_TYPES[tensor.type])


def _inline(model: Any, content: bytes) -> None:
    """Bring data that the quantizer put behind the flatbuffer back into it."""
    for buffer in model.buffers:
        if buffer.offset > 1:  # 0 and 1 stand for none in the schema
            buffer.data = np.frombuffer(_slice(content, buffer.offset, buffer.size), np.uint8)
        buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        for operator in graph.operators or []:
            if operator.largeCustomOptionsOffset > 1:
                start, size = operator.largeCustomOptionsOffset, operator.largeCustomOptionsSize
                operator.customOptions = np.frombuffer(_slice(content, start, size), np.uint8)
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0


def _slice(content: bytes, start: int, size: int) -> bytes:
    if start + size > len(content):
        raise ValueError("data lies outside the file")
    return content[start : start + size]


def _check(model: Any) -> None:
    graph = model.subgraphs[0]
    for operator in graph.operators:
        operator_name(model, operator)
        for index in (*operator.inputs, *operator.outputs):
            if not -1 <= index < len(graph.tensors):
                raise ValueError("an operator names a tensor that does not exist")
    for tensor in graph.tensors:
        type_name(tensor)
        if not 0 <= tensor.buffer < len(model.buffers):
            raise ValueError("a tensor names a buffer that does not exist")
    for index in (*graph.inputs, *graph.outputs):
        if not 0 <= index < len(graph.tensors):
            raise ValueError("an input or output names a tensor that does not exist")
