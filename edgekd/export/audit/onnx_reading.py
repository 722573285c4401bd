"""ONNX files read from disk, and refused where they are not what they say."""

from pathlib import Path
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from edgekd.errors import BundleError


def read_onnx(path: Path) -> onnx.ModelProto:
    """Parse and check a file.

    Raises:
        BundleError: If it is not a valid ONNX model.
    """
    try:
        model = onnx.load(path, load_external_data=False)  # a file may name any other file
        onnx.checker.check_model(model)
        _refuse_broken_text(model)
    except Exception as error:  # protobuf, the checker and its C++ raise a dozen types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BundleError(
            f"{path}: not a valid ONNX file ({reason[:200]}); it is damaged: export it again"
        ) from error
    return model


def with_shapes(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """A copy at batch size 1 that says the shape of every tensor it can be inferred for.

    Raises:
        BundleError: If its shapes contradict each other.
    """
    try:
        return at_batch_one(model)
    except Exception as error:  # the inference raises bare types of its own
        raise BundleError(f"{path}: its shapes contradict each other; export it again") from error


def at_batch_one(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same of a model that is known to be whole; what the inference raises is let through."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    del fixed.graph.value_info[:]  # written for a dynamic batch axis
    for item in fixed.graph.input:
        dims = item.type.tensor_type.shape.dim
        if dims and dims[0].WhichOneof("value") != "dim_value":
            dims[0].dim_value = 1
    return onnx.shape_inference.infer_shapes(fixed, data_prop=True)


def _refuse_broken_text(message: Message) -> None:
    """A string that is no UTF-8 arrives as bytes, and would fail wherever it is used."""
    for field, value in message.ListFields():
        single = isinstance(value, (str, bytes, Message))
        values: Any = [value] if single else value
        if field.type == FieldDescriptor.TYPE_STRING:
            if not all(isinstance(text, str) for text in values):
                raise ValueError(f"{field.name} is not text")
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in values:
                _refuse_broken_text(part)
