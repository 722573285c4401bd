"""Finding and reading what a report is made of: records on disk, nothing else.

Only records are read: no weights, no model files, no data. So a report can be made from a folder
that was copied from a device, long after and on another machine.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from edgekd.bundle import BUNDLE_FILE, CHECKPOINT_FILE, from_json, is_bundle, read_record
from edgekd.errors import BundleError, UsageError
from edgekd.records import ExportedModel, Measurement, Record, StudentBundle

EXPORTED_SUFFIXES: Final = (".onnx.json", ".tflite.json")
MEASUREMENTS_FILE: Final = "measurements.jsonl"
HISTORY_FILE: Final = "history.jsonl"
_KEPT: Final = "kept/"

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, kw_only=True)
class Located(Generic[R]):
    """A record and where it was found."""

    path: Path
    label: str
    """The path as a reader sees it: relative to the root it was found under."""
    record: R


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One line of ``history.jsonl``; a value that was not finite or not taken is ``None``."""

    epoch: int
    train_loss: float | None
    lr: float | None
    seconds: float | None
    val_name: str | None
    """Name of the validation metric, for example ``top1``."""
    val_value: float | None
    """A fraction."""
    kept: Mapping[str, float] = field(default_factory=dict)
    """Channels left by block, of a run whose network shrank; in the order of the file."""
    macs_share: float | None = None
    """What those channels leave of the network's MACs, a fraction; the same for parameters."""
    params_share: float | None = None
    seconds_saved: float | None = None
    """Training time saved so far because the network had shrunk."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Everything under the roots, in the order of the paths; measurements in the file's order."""

    bundles: tuple[Located[StudentBundle], ...]
    exported: tuple[Located[ExportedModel], ...]
    measurements: tuple[Located[Measurement], ...]
    histories: Mapping[Path, tuple[Epoch, ...]]
    """By the folder of the run."""
    unfinished: tuple[str, ...]
    """Folders of runs that have a checkpoint and no bundle yet."""


def find(roots: Sequence[Path]) -> Found:
    """Read every record under ``roots``.

    Args:
        roots: Folders, searched at any depth (hidden ones and links are left out), or single
            record files.

    Raises:
        UsageError: If a root does not exist, or nothing was found under any of them.
        BundleError: If a record is damaged or of an unknown schema, with file and line.
    """
    bundles: list[Located[StudentBundle]] = []
    exported: list[Located[ExportedModel]] = []
    measurements: list[Located[Measurement]] = []
    histories: dict[Path, tuple[Epoch, ...]] = {}
    unfinished: list[str] = []
    for path, label in _files(roots):
        if path.name == BUNDLE_FILE:
            bundles.append(_located(StudentBundle, path, _folder(path, label)))
        elif path.name.endswith(EXPORTED_SUFFIXES):
            exported.append(_located(ExportedModel, path, label.removesuffix(".json")))
        elif path.name == MEASUREMENTS_FILE:
            measurements += _read_measurements(path, label)
        elif path.name == HISTORY_FILE:
            histories[path.parent] = _read_history(path)
        elif path.name == CHECKPOINT_FILE and not is_bundle(path.parent):
            unfinished.append(_folder(path, label))
    if unfinished and not (bundles or exported or measurements):
        raise UsageError(
            f"{', '.join(unfinished)}: trainings that have not finished, and nothing else to "
            "report; continue them with --resume"
        )
    if not (bundles or exported or measurements):
        raise UsageError(
            f"{', '.join(str(root) for root in roots)}: nothing to report; expected a folder with "
            f"{BUNDLE_FILE} (edgekd teach, distill), *{', *'.join(EXPORTED_SUFFIXES)} (edgekd "
            f"export) or {MEASUREMENTS_FILE} (edgekd bench) at any depth"
        )
    return Found(
        bundles=tuple(bundles),
        exported=tuple(exported),
        measurements=tuple(measurements),
        histories=histories,
        unfinished=tuple(unfinished),
    )


def _files(roots: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    seen: set[Path] = set()
    for root in roots:
        if not root.exists():
            raise UsageError(
                f"{root}: no such file or folder; expected the output of an edgekd run"
            )
        for path in _under(root):
            resolved = path.resolve()
            if resolved not in seen:  # roots may overlap
                seen.add(resolved)
                yield resolved, _label(path, root, prefixed=len(roots) > 1)


def _under(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (Path(folder) / file for file in sorted(files))


def _label(path: Path, root: Path, *, prefixed: bool) -> str:
    relative = path.name if root.is_file() else path.relative_to(root).as_posix()
    return f"{root.resolve().name}/{relative}" if prefixed and not root.is_file() else relative


def _folder(path: Path, label: str) -> str:
    return label.removesuffix(path.name).rstrip("/") or path.parent.name


def _located(kind: type[R], path: Path, label: str) -> Located[R]:
    return Located(path=path, label=label, record=read_record(kind, path))


def _read_measurements(path: Path, label: str) -> Iterator[Located[Measurement]]:
    for where, line in _lines(path):
        record = from_json(Measurement, line.encode(), source=where)
        yield Located(path=path, label=label, record=record)


def _read_history(path: Path) -> tuple[Epoch, ...]:
    epochs = [_epoch(line, where) for where, line in _lines(path)]
    # A resumed run may repeat an epoch: the later line is the one that counts.
    return tuple(sorted({entry.epoch: entry for entry in epochs}.values(), key=lambda e: e.epoch))


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); expected JSON lines") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{path}, line {number}", line


def _epoch(line: str, where: str) -> Epoch:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BundleError(
            f"{where}: not JSON (truncated or altered); remove the line, or the file"
        ) from error
    if not isinstance(fields, dict) or not isinstance(fields.get("epoch"), int):
        raise BundleError(f"{where}: expected an object with a whole number 'epoch'")
    val_key = _val_key(fields)
    return Epoch(
        epoch=fields["epoch"],
        train_loss=_number(fields, "train_loss", where),
        lr=_number(fields, "lr", where),
        seconds=_number(fields, "seconds", where),
        val_name=val_key.removeprefix("val_") if val_key else None,
        val_value=_number(fields, val_key, where) if val_key else None,
        kept=_kept(fields, where),
        macs_share=_number(fields, "macs_share", where),
        params_share=_number(fields, "params_share", where),
        seconds_saved=_number(fields, "seconds_saved", where),
    )


def _kept(fields: Mapping[str, Any], where: str) -> dict[str, float]:
    counts = {key: _number(fields, key, where) for key in fields if key.startswith(_KEPT)}
    return {key.removeprefix(_KEPT): n for key, n in counts.items() if n is not None}


def _val_key(fields: Mapping[str, Any]) -> str | None:
    keys = (key for key in fields if key.startswith("val_") and key != "val_loss")
    return next(keys, None)


def _number(fields: Mapping[str, Any], key: str, where: str) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BundleError(f"{where}: {key} is {value!r:.60}; expected a number")
    return float(value) if abs(value) <= sys.float_info.max else None  # NaN compares false
