"""Checkpoints: one safetensors file, written atomically, never pickle.

Tensors lie under ``<part>/<name>``; everything that is not a tensor is JSON in the header. A reader
refuses a file that is truncated, altered or of another schema.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from edgekd.atomic import write_atomically
from edgekd.errors import BundleError

CHECKPOINT_FILE: Final = "checkpoint.safetensors"
_SCHEMA: Final = "1"
_KEY: Final = "edgekd"


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
    write_atomically(path, safetensors.torch.save(tensors, {_KEY: json.dumps(header)}))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what :func:`write_checkpoint` wrote.

    Raises:
        BundleError: If the file is missing, truncated, altered or of another schema.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise BundleError(
            f"{path}: not a checkpoint of edgekd ({error}); start again with --overwrite"
        ) from error
    if header.get("schema") != _SCHEMA:
        raise BundleError(
            f"{path}: checkpoint schema {header.get('schema')!r} found, expected {_SCHEMA!r}; "
            "resume with the edgekd version that wrote it"
        )
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


def _storable(tensor: Tensor) -> Tensor:
    """A private copy in plain memory order: safetensors stores neither strides nor shared memory.

    Strides are not part of a value: ``load_state_dict`` copies into the module's own layout.
    """
    return tensor.detach().to("cpu", copy=True).contiguous(memory_format=torch.contiguous_format)
