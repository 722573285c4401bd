"""Reading and writing bundles: ``bundle.json`` + ``weights.safetensors``, never pickle.

``bundle.json`` holds a :class:`~edgekd.records.StudentBundle` and a digest of itself; the record
holds the sha256 of the weights. So a truncated or altered bundle is an error, not a wrong model.

A bundle of an embedding network has a third file, ``training_head.safetensors``: the classifier of
the training identities. Only a teacher needs it; nothing that is exported holds any of it, and
without it a bundle still runs, exports and measures.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from edgekd.atomic import locked_folder, reporting_write_errors, write_atomically
from edgekd.errors import BundleError
from edgekd.records import SCHEMA, Record, StudentBundle

BUNDLE_FILE: Final = "bundle.json"
RECIPE_FILE: Final = "recipe.toml"
"""Of the run that writes the bundle when it has finished."""
CHECKPOINT_FILE: Final = "checkpoint.safetensors"
"""Of such a run, too."""
WEIGHTS_FILE: Final = "weights.safetensors"
TRAINING_HEAD_FILE: Final = "training_head.safetensors"

_JSON_LIMIT: Final = 64 << 20  # a record beyond this is not one of ours

R = TypeVar("R", bound=Record)


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_json(record: Record) -> bytes:
    """A record as indented JSON with a digest that :func:`from_json` checks."""
    fields = record.model_dump(mode="json", by_alias=True)
    return (json.dumps({**fields, "digest": _digest(fields)}, indent=2) + "\n").encode()


def from_json(kind: type[R], content: bytes, *, source: str) -> R:
    """Rebuild a record written by :func:`to_json`.

    Args:
        kind: The record expected.
        content: The file's bytes.
        source: How to name the file in an error.

    Raises:
        BundleError: If it is not JSON, of another schema, altered, or does not fit ``kind``.
    """
    fields = _parse_object(content, source)
    schema = fields.get("schema")
    if schema != SCHEMA:
        raise BundleError(
            f"{source}: schema {schema!r} found, this edgekd reads schema {SCHEMA}; "
            "use the edgekd version that wrote it, or make the file again"
        )
    digest = fields.pop("digest", None)
    if digest != _digest(fields):
        raise BundleError(f"{source}: altered after it was written (digest differs); make it again")
    try:
        return kind.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(
            f"{source}: not a {kind.__name__} record ({where}: {first['msg']}); make it again"
        ) from error


def read_record(kind: type[R], path: Path) -> R:
    """Read a record from a JSON file.

    Raises:
        BundleError: If the file cannot be read or :func:`from_json` refuses it.
    """
    try:
        if path.stat().st_size > _JSON_LIMIT:
            raise BundleError(f"{path}: larger than 64 MiB; not a record of edgekd")
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read ({error.strerror}); expected a {kind.__name__} record"
        ) from error
    return from_json(kind, content, source=str(path))


def append_record(path: Path, record: Record) -> None:
    """Add a record as one line to a JSON-lines file; a killed process leaves the old file whole.

    The file is rewritten and renamed under a lock on its folder: a single large ``write`` can be
    cut short by a signal, and two processes may append at once.

    Raises:
        OutputError: If the folder cannot be written or the disk is full; the old lines stay.
    """
    fields = record.model_dump(mode="json", by_alias=True)
    line = json.dumps({**fields, "digest": _digest(fields)}, separators=(",", ":")).encode() + b"\n"
    with reporting_write_errors(path), locked_folder(path.parent):
        before = path.read_bytes() if path.exists() else b""
        if before and not before.endswith(b"\n"):  # an editor may drop the last newline
            before += b"\n"
        write_atomically(path, before + line)


def is_bundle(path: Path) -> bool:
    """Whether ``path`` is a folder that claims to be a bundle."""
    return (path / BUNDLE_FILE).is_file()


def is_run(path: Path) -> bool:
    """Whether ``path`` is the folder of a training, finished or not; :func:`read_bundle` tells."""
    return is_bundle(path) or (path / CHECKPOINT_FILE).is_file()


def write_bundle(
    folder: Path, record: StudentBundle, weights: bytes, *, training_head: bytes | None = None
) -> None:
    """Write a bundle; the record goes last, so a killed run leaves no half bundle.

    Args:
        folder: Created if missing.
        record: Its ``weights_sha256`` must be that of ``weights``, its ``training_head_sha256``
            that of ``training_head``.
        weights: A serialised safetensors file.
        training_head: Another, of the classifier of an embedding network.

    Raises:
        OutputError: If the folder cannot be written.
        ValueError: If record and weights do not belong together.
    """
    if hashlib.sha256(weights).hexdigest() != record.weights_sha256:
        raise ValueError("the record's weights_sha256 is not that of the weights")
    head_sha256 = None if training_head is None else hashlib.sha256(training_head).hexdigest()
    if head_sha256 != record.training_head_sha256:
        raise ValueError("the record's training_head_sha256 is not that of the training head")
    write_atomically(folder / WEIGHTS_FILE, weights)
    if training_head is not None:
        write_atomically(folder / TRAINING_HEAD_FILE, training_head)
    write_atomically(folder / BUNDLE_FILE, to_json(record))


def read_bundle(folder: Path) -> StudentBundle:
    """Read a bundle's record and verify its weights file against it.

    Raises:
        BundleError: If either file is missing, truncated, altered or of an unknown schema.
    """
    if not is_run(folder):
        raise BundleError(
            f"{folder}: no {BUNDLE_FILE} found; expected the output folder of edgekd teach or "
            "edgekd distill"
        )
    if not is_bundle(folder):
        raise BundleError(
            f"{folder}: this training has not finished; continue it with the command that began "
            f"it, as: edgekd distill --resume -o {folder}"
        )
    record = read_record(StudentBundle, folder / BUNDLE_FILE)
    weights = folder / WEIGHTS_FILE
    try:
        digest = sha256_of(weights)
    except OSError as error:
        raise BundleError(f"{weights}: cannot be read ({error.strerror}); copy it again") from error
    if digest != record.weights_sha256:
        raise BundleError(
            f"{weights}: its sha256 is not the one in {BUNDLE_FILE} (truncated or altered); "
            "copy it again"
        )
    return record


def read_training_head(folder: Path, record: StudentBundle) -> bytes:
    """The serialised classifier beside a bundle of an embedding network, verified.

    Raises:
        BundleError: If the bundle has none, or the file is missing, truncated or altered.
    """
    path = folder / TRAINING_HEAD_FILE
    try:
        content = path.read_bytes() if record.training_head_sha256 is not None else None
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read ({error.strerror}), and teaching needs it; copy it from the "
            "folder of the run"
        ) from error
    if content is None or hashlib.sha256(content).hexdigest() != record.training_head_sha256:
        found = "the bundle was written without one" if content is None else "its sha256 differs"
        raise BundleError(f"{path}: {found}; teach again with --task retrieval, or copy it again")
    return content


def _parse_object(content: bytes, source: str) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{source}: not JSON (truncated or altered); make it again") from error
    if not isinstance(fields, dict):
        raise BundleError(f"{source}: expected a JSON object; make it again")
    return fields


def _digest(fields: dict[str, Any]) -> str:
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
