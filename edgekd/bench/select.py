"""From the paths of a command line to the models that are measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from edgekd.bundle import (
    WEIGHTS_FILE,
    is_bundle,
    is_run,
    read_bundle,
    read_record,
    sha256_of,
)
from edgekd.errors import BundleError, UsageError
from edgekd.records import (
    DataRef,
    ExportedModel,
    Format,
    ImageInput,
    InputSpec,
    Precision,
    Preprocess,
    SignalInput,
    Task,
    TensorSpec,
)
from edgekd.runtimes.encoding import InputEncoding

_FORMATS: Final[dict[str, Format]] = {".onnx": "onnx", ".tflite": "tflite"}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One model to measure and what is known about it before it is loaded."""

    path: Path
    """The file, or the bundle folder of the baseline."""
    file: str
    folder: Path
    """Where its measurements are written: beside it."""
    format: Format
    sha256: str
    size_bytes: int
    precision: Precision | None = None
    """``None`` for a file without a record; the runner then tells it from the operators."""
    source_sha256: str | None = None
    preprocess: Preprocess | None = None
    """``None`` for a file without a record; it is fed random tensors and has no metric."""
    labels: tuple[str, ...] = ()
    """Classes, or for retrieval the identities of the training."""
    task: Task = "classification"
    data: DataRef | None = None
    """What it was trained on, where its record says so."""
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The recipe of that training; empty where it is unknown."""
    encodings: tuple[InputEncoding, ...] = ()


def select(paths: Sequence[Path], *, baseline: bool) -> tuple[Candidate, ...]:
    """Every model at ``paths``, in their order, each once.

    Args:
        paths: Exported files, folders of them, and bundle folders.
        baseline: Whether bundle folders become rows of their own, run by torch.

    Raises:
        BundleError: If a record is damaged or is not of the file it lies beside.
        UsageError: If a path holds nothing to measure, or ``baseline`` finds no bundle.
    """
    found: dict[Path, Candidate] = {}
    for path in paths:
        for candidate in _at(path, baseline=baseline):
            found.setdefault(candidate.path.resolve(), candidate)
    candidates = _told_apart(tuple(found.values()))
    if baseline and not any(candidate.format == "torch" for candidate in candidates):
        raise UsageError(
            "--baseline runs a bundle with torch, and none of the paths is one; "
            "add the folder that edgekd distill or teach wrote"
        )
    return candidates


def _told_apart(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Files of one name in several folders are called with as many folders as tell them apart."""
    names = [candidate.file for candidate in candidates]
    places = [candidate.path.resolve().parts for candidate in candidates]
    depth = 1
    while len(set(names)) < len(names) and depth < max(map(len, places)):
        depth += 1
        shared = {name for name in names if names.count(name) > 1}
        names = [
            "/".join(place[-depth:]) if name in shared else name
            for name, place in zip(names, places, strict=True)
        ]
    return tuple(
        replace(candidate, file=name) for candidate, name in zip(candidates, names, strict=True)
    )


def _at(path: Path, *, baseline: bool) -> list[Candidate]:
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; expected what edgekd export wrote")
    if not path.is_dir():
        return [_exported(path)]
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in _FORMATS and f.is_file())
    candidates = [_exported(file) for file in files]
    if is_bundle(path) and baseline:
        candidates.append(_bundle(path))
    if candidates:
        return candidates
    if is_bundle(path):
        raise UsageError(
            f"{path}: a bundle, not exported files; run edgekd export {path} first, "
            "or measure the bundle itself in torch with --baseline"
        )
    if is_run(path):
        read_bundle(path)  # refused: it has not finished
    raise UsageError(f"{path}: no .onnx or .tflite file in it; expected edgekd export's output")


def _exported(path: Path) -> Candidate:
    model_format = _FORMATS.get(path.suffix.lower())
    if model_format is None:
        raise UsageError(f"{path}: expected a .onnx or .tflite file, or a folder of them")
    try:
        digest, size = sha256_of(path), path.stat().st_size
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); copy it again") from error
    bare = Candidate(
        path=path,
        file=path.name,
        folder=path.parent,
        format=model_format,
        sha256=digest,
        size_bytes=size,
    )
    record_path = path.with_name(path.name + ".json")
    return _described(bare, record_path) if record_path.exists() else bare


def _described(bare: Candidate, record_path: Path) -> Candidate:
    record = read_record(ExportedModel, record_path)
    if (record.sha256, record.format) != (bare.sha256, bare.format):
        raise BundleError(
            f"{bare.path}: not the file that {record_path.name} describes (its sha256 differs); "
            "export again, or remove the record to measure the file without it"
        )
    if len(record.inputs) != len(record.preprocess.inputs) or len(_paired(record)) != len(
        record.inputs
    ):
        raise BundleError(f"{record_path}: inputs and preprocessing differ; export again")
    return Candidate(
        path=bare.path,
        file=bare.file,
        folder=bare.folder,
        format=bare.format,
        sha256=bare.sha256,
        size_bytes=bare.size_bytes,
        precision=record.precision,
        source_sha256=record.source_sha256,
        preprocess=record.preprocess,
        labels=record.labels,
        task=record.task,
        data=record.provenance.data if record.provenance is not None else None,
        training=record.provenance.recipe if record.provenance is not None else {},
        encodings=tuple(
            _encoding(spec, tensor, raw=record.input_encoding == "uint8")
            for spec, tensor in _paired(record)
        ),
    )


def _paired(record: ExportedModel) -> list[tuple[InputSpec, TensorSpec]]:
    """Each input's preprocessing and tensor: by name where there are several."""
    specs, tensors = record.preprocess.inputs, record.inputs
    if len(tensors) == 1:
        return [(specs[0], tensors[0])]
    by_name = {tensor.name: tensor for tensor in tensors}
    return [(spec, by_name[spec.name]) for spec in specs if spec.name in by_name]


def _bundle(folder: Path) -> Candidate:
    record = read_bundle(folder)
    return Candidate(
        path=folder,
        file=folder.resolve().name,
        folder=folder,
        format="torch",
        sha256=record.weights_sha256,
        size_bytes=(folder / WEIGHTS_FILE).stat().st_size,
        precision="fp32",
        source_sha256=record.weights_sha256,
        preprocess=record.preprocess,
        labels=record.labels,
        task=record.task,
        data=record.provenance.data,
        training=record.provenance.recipe,
        encodings=tuple(_torch_encoding(spec) for spec in record.preprocess.inputs),
    )


def _encoding(spec: InputSpec, tensor: TensorSpec, *, raw: bool) -> InputEncoding:
    return InputEncoding(
        name=tensor.name,
        kind=spec.kind,
        mean=spec.mean,
        std=spec.std,
        layout=tensor.layout,
        raw=raw and isinstance(spec, ImageInput),
        clip=spec.clip if isinstance(spec, SignalInput) else None,
    )


def _torch_encoding(spec: InputSpec) -> InputEncoding:
    layout = "NCHW" if isinstance(spec, ImageInput) else "NCT"
    return InputEncoding(
        name=spec.name,
        kind=spec.kind,
        mean=spec.mean,
        std=spec.std,
        layout=layout,
        clip=spec.clip if isinstance(spec, SignalInput) else None,
    )
