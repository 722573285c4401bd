"""What travels inside an exported file: labels, preprocessing and provenance, as one JSON record.

ONNX keeps it in ``metadata_props``, TFLite in a ``Metadata`` buffer; both under the name
``edgekd``. A file that lost its ``.json`` can still be fed and its answers can still be named.
"""

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from edgekd.bundle import from_json, to_json
from edgekd.records import SCHEMA, Preprocess, Provenance, Record, Task
from edgekd.runtimes.session import format_of

KEY: Final = "edgekd"


class EmbeddedMetadata(Record):
    """The part of an :class:`~edgekd.records.ExportedModel` that is known before the file is."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    task: Task = "classification"
    labels: tuple[str, ...]
    preprocess: Preprocess
    input_encoding: Literal["float32", "uint8"]
    source_sha256: str
    versions: dict[str, str]
    provenance: Provenance | None


def embed_in_onnx(model: Any, metadata: EmbeddedMetadata) -> None:
    """Put the record into an ``onnx.ModelProto``, in place of one that is there."""
    kept = [item for item in model.metadata_props if item.key != KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=KEY, value=to_json(metadata).decode())


def named_by_signature(content: bytes) -> bytes:
    """A TFLite file whose inputs and outputs are named as its signature names them."""
    from edgekd.export.tflite_schema import pack_tflite, parse_tflite

    model = parse_tflite(content, source="the converter's file")
    _name_tensors(model)
    return pack_tflite(model)


def embed_in_tflite(content: bytes, metadata: EmbeddedMetadata) -> bytes:
    """A TFLite file with the record in it, and its tensors named as the signature names them."""
    from edgekd.export.tflite_schema import (
        AlignedBuffer,
        metadata_entry,
        pack_tflite,
        parse_tflite,
    )

    model = parse_tflite(content, source="the converter's file")
    _name_tensors(model)  # a quantizer puts tensors of other names at the ends
    model.buffers.append(AlignedBuffer(data=list(to_json(metadata))))
    entry = metadata_entry(KEY, len(model.buffers) - 1)
    model.metadata = [*(model.metadata or []), entry]
    return pack_tflite(model)


def read_metadata(path: Path) -> EmbeddedMetadata | None:
    """The record inside a ``.onnx`` or ``.tflite`` file; ``None`` where the file is not ours.

    Raises:
        BundleError: If the file is damaged, or its record altered or of an unknown schema.
    """
    content = _from_onnx(path) if format_of(path) == "onnx" else _from_tflite(path)
    return None if content is None else from_json(EmbeddedMetadata, content, source=str(path))


def _from_onnx(path: Path) -> bytes | None:
    from edgekd.export.audit.onnx_reading import read_onnx

    found = [item.value for item in read_onnx(path).metadata_props if item.key == KEY]
    return found[0].encode() if found else None


def _from_tflite(path: Path) -> bytes | None:
    from edgekd.export.tflite_schema import read_tflite

    model = read_tflite(path)
    for entry in model.metadata or []:
        if entry.name == KEY.encode() and 0 <= entry.buffer < len(model.buffers):
            data = model.buffers[entry.buffer].data
            return None if data is None else bytes(data)
    return None


def _name_tensors(model: Any) -> None:
    """``image`` instead of ``serving_default_image``: one name in record, ONNX and TFLite."""
    tensors = model.subgraphs[0].tensors
    for signature in model.signatureDefs or []:
        for item in (*signature.inputs, *signature.outputs):
            tensors[item.tensorIndex].name = item.name
