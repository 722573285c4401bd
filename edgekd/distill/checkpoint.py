"""Checkpoints: one safetensors file, written atomically, never pickle.

Tensors lie under ``<part>/<name>``; everything that is not a tensor is JSON in the header, with a
sha256 of both. A reader refuses a file that is truncated, altered or of another schema.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from edgekd.atomic import write_atomically
from edgekd.errors import BundleError

_SCHEMA: Final = "2"  # 1 had no digest
_KEY: Final = "edgekd"
_DIGEST: Final = "sha256"
_MALFORMED: Final = (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError)
_UNREADABLE: Final = (safetensors.SafetensorError, OSError, *_MALFORMED)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """All of a run's state between two steps."""

    parts: Mapping[str, Mapping[str, Tensor]]
    """``student``, ``average``, ``method``: tensors by name."""
    optimizer: Mapping[str, Any]
    """A ``state_dict()`` of torch's optimizers."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """JSON: recipe, data fingerprint, precision, progress, history."""


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: a kill at any moment leaves the old file or the new one.

    Raises:
        OutputError: If the disk is full or the folder cannot be written; the old file stays.
    """
    tensors = {
        f"{part}/{name}": _storable(tensor)
        for part, named in checkpoint.parts.items()
        for name, tensor in named.items()
    }
    scalars: dict[str, dict[str, float]] = {}
    for index, values in checkpoint.optimizer["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{name}"] = _storable(value)
            elif value is not None:
                scalars.setdefault(str(index), {})[name] = value
    header = {
        "schema": _SCHEMA,
        "optimizer_scalars": scalars,
        "optimizer_groups": checkpoint.optimizer["param_groups"],
        "facts": checkpoint.facts,
    }
    text = json.dumps(header)
    metadata = {_KEY: text, _DIGEST: _digest(text, tensors)}
    write_atomically(path, safetensors.torch.save(tensors, metadata))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`write_checkpoint` wrote.

    Raises:
        BundleError: If the file is missing, truncated, altered or of another schema.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            header = json.loads(metadata[_KEY])
            _check_schema(header["schema"], path)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata[_DIGEST] != _digest(metadata[_KEY], tensors):
            raise BundleError(
                f"{path}: altered after it was written (its sha256 differs); copy it again, or "
                "start again with --overwrite"
            )
        return _assembled(header, tensors)
    except _UNREADABLE as error:
        raise BundleError(
            f"{path}: not a checkpoint of edgekd ({_reason(error)}); start again with --overwrite"
        ) from error


@contextmanager
def refusing_another_run(path: Path) -> Iterator[None]:
    """Turn whatever is said of a checkpoint's state that does not fit into one line for the user.

    Raises:
        BundleError: If state is put where it does not belong inside the block.
    """
    try:
        yield
    except _MALFORMED as error:
        raise BundleError(
            f"{path}: does not fit the network and optimizer of this run ({_reason(error)}); "
            "resume with the edgekd version that wrote it, or start again with --overwrite"
        ) from error


def _check_schema(schema: object, path: Path) -> None:
    if schema != _SCHEMA:
        raise BundleError(
            f"{path}: checkpoint schema {schema!r} found, expected {_SCHEMA!r}; resume with the "
            "edgekd version that wrote it, or start again with --overwrite"
        )


def _assembled(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    parts: dict[str, dict[str, Tensor]] = {}
    state: dict[int, dict[str, Any]] = {
        int(index): dict(values) for index, values in header["optimizer_scalars"].items()
    }
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        if part == "optimizer":
            index, _, name = name.partition("/")
            state.setdefault(int(index), {})[name] = tensor
        else:
            parts.setdefault(part, {})[name] = tensor
    return Checkpoint(
        parts=parts,
        optimizer={"state": state, "param_groups": header["optimizer_groups"]},
        facts=header["facts"],
    )


def _digest(header: str, tensors: Mapping[str, Tensor]) -> str:
    """Hex sha256 of the header and of every tensor's name, type, shape and bytes."""
    found = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        found.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # whatever its type
    return found.hexdigest()


def _reason(error: Exception) -> str:
    """In one line, and short: torch lists every key that is missing."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _storable(tensor: Tensor) -> Tensor:
    """A private copy in plain memory order: safetensors stores neither strides nor shared memory.

    Strides are not part of a value: ``load_state_dict`` copies into the module's own layout.
    """
    return tensor.detach().to("cpu", copy=True).contiguous(memory_format=torch.contiguous_format)
