"""``edgekd inspect`` on a model file: what the file itself says, ours or anybody's."""

from pathlib import Path
from typing import Any

from edgekd.bundle import sha256_of
from edgekd.errors import BundleError
from edgekd.export.audit import audit_file
from edgekd.export.metadata import read_metadata
from edgekd.runtimes.session import format_of


def describe(path: Path) -> dict[str, Any]:
    """JSON values that describe a ``.onnx`` or ``.tflite`` file, read without running it.

    Returns:
        ``file, format, sha256, size_bytes, precision, num_params, macs, int8_macs_share, inputs,
        outputs, audit``, and where edgekd wrote the file also ``task, labels, preprocess,
        input_encoding, source_sha256, versions, provenance``. Parameters and MACs are the file's
        own, at batch size 1.

    Raises:
        BundleError: If the file is missing, damaged or altered.
        MissingExtraError: If the package that reads its format is not installed.
    """
    if not path.is_file():
        raise BundleError(f"{path}: no such file; expected a .onnx or .tflite file")
    facts = audit_file(path)
    inside = read_metadata(path)
    about: dict[str, Any] = {} if inside is None else inside.model_dump(mode="json", by_alias=True)
    about.pop("schema", None)
    return {
        "file": path.name,
        "format": format_of(path),
        "sha256": sha256_of(path),
        "size_bytes": path.stat().st_size,
        "precision": facts.precision,
        "num_params": facts.num_params,
        "macs": facts.macs,
        "int8_macs_share": facts.audit.int8_macs_share,
        "inputs": [spec.model_dump(mode="json") for spec in facts.inputs],
        "outputs": [spec.model_dump(mode="json") for spec in facts.outputs],
        "audit": facts.audit.model_dump(mode="json"),
        **about,
    }
