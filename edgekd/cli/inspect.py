"""``edgekd inspect``: what a bundle folder, a model file or a record is.

A bundle or a record is answered from JSON alone, without torch; a model file is read with the
package of its format.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from edgekd.bundle import BUNDLE_FILE, is_run, read_bundle, read_record, sha256_of
from edgekd.cli.cells import count, percent, size
from edgekd.cli.extras import needs_extra
from edgekd.cli.options import example, takes_terminal
from edgekd.cli.terminal import Sheet, Terminal
from edgekd.errors import BundleError, UsageError
from edgekd.records import ExportedModel, ImageInput, InputSpec, StudentBundle

MODEL_SUFFIXES: Final = (".onnx", ".tflite")
PROGRAM_SUFFIX: Final = ".pt2"
_SHOWN_LABELS: Final = 12


@click.command("inspect", epilog=example("edgekd inspect runs/student"))
@click.argument("path", type=click.Path(path_type=Path))
@takes_terminal
def command(*, terminal: Terminal, path: Path) -> None:
    """Say what the bundle folder, .onnx, .tflite or .pt2 file, or .json record at PATH is.

    Architecture, parameters, MACs, inputs and outputs, quantization, provenance. Of a folder of
    model files every one, with --json as a list.
    """
    files = model_files(path)
    if not files:
        data = inspect(path)
        terminal.show(data, _sheet(data, path))
        return
    found = [inspect(file) for file in files]
    terminal.show(found, *map(_sheet, found, files))


def model_files(path: Path) -> tuple[Path, ...]:
    """The model files in a folder that is no run, in text order; none of anything else."""
    if not path.is_dir() or is_run(path):
        return ()
    endings = (*MODEL_SUFFIXES, PROGRAM_SUFFIX)
    return tuple(sorted(f for f in path.iterdir() if f.suffix in endings and f.is_file()))


def inspect(path: Path) -> dict[str, Any]:
    """What is at ``path``, as JSON values.

    Raises:
        UsageError: If there is nothing, or nothing edgekd knows.
        BundleError: If it is damaged or of an unknown schema.
        MissingExtraError: If a model file needs a package that is not installed.
    """
    if not path.exists():
        raise UsageError(f"{path}: does not exist; give a bundle folder, model file or record")
    if is_run(path):
        return _bundle(read_bundle(path))
    if path.name == BUNDLE_FILE:
        return _bundle(read_bundle(path.parent))
    if path.suffix == ".json":
        return _exported(read_record(ExportedModel, path))
    if path.suffix in MODEL_SUFFIXES:
        return _model_file(path)
    if path.suffix == PROGRAM_SUFFIX:
        return _program(path)
    raise UsageError(
        f"{path}: neither a bundle folder (with {BUNDLE_FILE}), nor a file that ends in "
        f"{', '.join((*MODEL_SUFFIXES, PROGRAM_SUFFIX))} or .json, nor a folder of such files"
    )


def _bundle(record: StudentBundle) -> dict[str, Any]:
    fields = record.model_dump(mode="json", by_alias=True)
    shape = ["batch", record.arch.output_size]
    outputs = [{"name": record.arch.output_name, "shape": shape, "dtype": "float32"}]
    return {
        "kind": "bundle",
        "format": "torch",
        "precision": "fp32",
        "inputs": [_input(spec) for spec in record.preprocess.inputs],
        "outputs": outputs,
        **fields,
    }


def _input(spec: InputSpec) -> dict[str, Any]:
    if isinstance(spec, ImageInput):
        extents, layout = [spec.channels, spec.height, spec.width], "NCHW"
    else:
        extents, layout = [spec.channels, spec.length], "NCT"
    shape = ["batch", *extents]
    return {"name": spec.name, "shape": shape, "dtype": "float32", "layout": layout}


def _exported(record: ExportedModel) -> dict[str, Any]:
    return {"kind": "record", **record.model_dump(mode="json", by_alias=True)}


def _model_file(path: Path) -> dict[str, Any]:
    """What the file itself says, and its record where that lies beside it and belongs to it."""
    with needs_extra("export", purpose="read a model file"):
        from edgekd.export.describe import describe

    data = {"kind": "model file", **describe(path)}
    beside = path.with_name(f"{path.name}.json")
    if not beside.is_file():
        return data
    record = read_record(ExportedModel, beside)
    if record.sha256 != sha256_of(path):
        raise BundleError(
            f"{path}: its sha256 is not the one in {beside.name} (truncated or altered); "
            "export it again"
        )
    # the network's own cost: the file may hold more, as the normalisation of raw pixels
    return {**_exported(record), **data, "num_params": record.num_params, "macs": record.macs}


def _program(path: Path) -> dict[str, Any]:
    """What a torch.export program says of itself; only its archive is read, it is not run."""
    with needs_extra("export", purpose="read a torch.export program"):
        from edgekd.export.describe import describe_program

    return {"kind": "torch.export program", **describe_program(path)}


def _sheet(data: dict[str, Any], path: Path) -> Sheet:
    return Sheet("", (data["kind"], str(path)), tuple(_lines(data)))


def _lines(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The parts of ``data`` a person asks for first; ``--json`` has all of it."""
    yield from _network(data)
    for way in ("inputs", "outputs"):
        for spec in data[way]:
            yield way.removesuffix("s"), _tensor(spec)
    yield from _quantization(data)
    if data.get("labels"):
        kind = "trained on" if data.get("task") == "retrieval" else "labels"
        more = ", ..." if len(data["labels"]) > _SHOWN_LABELS else ""
        yield kind, f"{len(data['labels'])}: {', '.join(data['labels'][:_SHOWN_LABELS])}{more}"
    for metric in data.get("metrics", ()):
        value = f"{percent(metric['value'])} ({metric['num_samples']} samples)"
        yield f"{metric['name']} on {metric['split']}", value
    for note in data.get("notes", ()):
        yield "note", note
    if data.get("provenance"):
        yield from _provenance(data["provenance"])


def _network(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "arch" in data:
        arguments = data["arch"]["arguments"].items()
        options = " ".join(f"{key}={value}" for key, value in arguments)
        yield "architecture", f"{data['arch']['family']} {options}".strip()
        if data["arch"].get("widths"):
            yield "channels in blocks", ", ".join(map(str, data["arch"]["widths"]))
    yield "format", f"{data['format']}, {data['precision']}"
    for key, text in (("num_params", count), ("macs", count), ("size_bytes", size)):
        if data.get(key) is not None:
            yield key, text(data[key])
    if data.get("uncounted_operators"):
        yield "", f"macs leave out {', '.join(data['uncounted_operators'])}, without a formula"
    if data.get("input_encoding") == "uint8" and "parity" not in data:  # it has no record
        yield "", "num_params counts the normalisation of raw pixels, which is inside the file"


def _quantization(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if data.get("audit"):
        audit = data["audit"]
        yield "int8 share of MACs", percent(audit["int8_macs_share"])
        for kind in ("int8_operators", "float_operators"):
            operators = ", ".join(f"{n} {name}" for name, n in audit[kind].items())
            yield kind.replace("_", " "), operators or "none"
        yield "operators", _graph(audit)
        if audit.get("uncounted_operators"):
            names = ", ".join(audit["uncounted_operators"])
            yield "", f"the int8 share leaves out {names}, without a formula"
    if data.get("parity"):
        yield "against its source", _parity(data["parity"], data.get("task"))


def _graph(audit: dict[str, Any]) -> str:
    total = sum(sum(audit[kind].values()) for kind in ("int8_operators", "float_operators"))
    transposes = audit["num_transposes"]
    text = f"{count(total)}, of them {transposes} transpose{'s' * (transposes != 1)}"
    if audit.get("largest_rank") is None:  # a record of an older version
        return text
    return f"{text}; no tensor of more than {audit['largest_rank']} axes"


def _tensor(spec: dict[str, Any]) -> str:
    shape = " x ".join(str(extent) for extent in spec["shape"])
    text = f"{spec['name']}: {spec['dtype']} {shape} {spec.get('layout', '')}".rstrip()
    if spec.get("scale") is None:
        return text
    return f"{text}, real = {spec['scale']:.6g} * (q - {spec['zero_point']})"


def _parity(parity: dict[str, Any], task: str | None) -> str:
    first = "nearest neighbour" if task == "retrieval" else "top-1"
    noise = "" if parity["sqnr_db"] is None else f", SQNR {parity['sqnr_db']:.1f} dB"
    return (
        f"{first} agrees on {percent(parity['top1_agreement'])} of {parity['num_samples']} "
        "samples, "
        f"largest error {parity['max_abs_err']:.2g}{noise}"
    )


def _provenance(provenance: dict[str, Any]) -> Iterator[tuple[str, str]]:
    data, teacher = provenance["data"], provenance["teacher"]
    yield "data", f"{data['source']} ({data['fingerprint'][:12]})"
    yield "teacher", f"{teacher['source']} ({teacher['kind']})" if teacher else "none"
    yield "method", str(provenance["recipe"].get("method", ""))
    yield "trained", f"{provenance['created']}, seed {provenance['seed']}, {provenance['machine']}"
    yield "versions", ", ".join(f"{k} {v}" for k, v in provenance["versions"].items())
