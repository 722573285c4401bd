"""What can be written, in one table: how the files of each format are made."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
from torch import nn

from edgekd.config import ExportRecipe
from edgekd.console import Console
from edgekd.devices.table import THIS_MACHINE, Device
from edgekd.errors import BundleError, ExportError, ParityError
from edgekd.export.adjustments.adjuster import Adjuster
from edgekd.export.adjustments.apply import adjusted
from edgekd.export.adjustments.record import AS_IT_IS, Adjustments
from edgekd.export.int8 import SATURATED, SEARCH_STEPS, Int8Job, given_recipe, write_int8
from edgekd.export.int8_basis import Basis
from edgekd.export.metadata import (
    EmbeddedMetadata,
    embed_in_onnx,
    embed_in_tflite,
    named_by_signature,
)
from edgekd.export.onnx_file import export_onnx
from edgekd.export.parity import compare, problems, run_session
from edgekd.export.prepare import Deployed, sample_input
from edgekd.export.program import fixed_batch
from edgekd.export.quantization.calibration import input_encoding
from edgekd.export.quantization.candidates import Quantizer
from edgekd.export.quantization.learned import WithLearnedRanges
from edgekd.export.quantization.onnx_quantizer import OnnxQuantizer
from edgekd.export.quantization.recipe import Int8Recipe, Processor
from edgekd.export.quantization.target import Target
from edgekd.export.quantization.tflite_quantizer import TfliteQuantizer
from edgekd.export.quantization.units import prefer
from edgekd.export.quiet import quiet_stderr
from edgekd.export.recovered import Recovered
from edgekd.export.samples import ExportSamples
from edgekd.export.tflite_file import write_tflite
from edgekd.records import Parity, StudentBundle
from edgekd.runtimes.session import open_session

FormatName = Literal["onnx", "tflite"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What every file of one export is made from."""

    bundle_folder: Path
    record: StudentBundle
    network: nn.Module
    recipe: ExportRecipe
    work: Path
    """Scratch folder."""
    recovered: Recovered | None = None
    """Where ``network`` has other weights than the bundle's: where they come from."""
    device: Device = THIS_MACHINE
    """Where int8 candidates are timed."""
    adjuster: Adjuster | None = None
    """Proposes changes of the network for int8; ``None`` where nothing is calibrated."""
    adjustments: Adjustments = AS_IT_IS
    """Of ``network``, in the files that are written."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A written file that has not passed its gate yet."""

    path: Path
    format: FormatName
    int8: bool
    notes: tuple[str, ...] = ()
    int8_recipe: Int8Recipe | None = None
    recovered: Recovered | None = None
    strict_problems: tuple[str, ...] = ()
    """Why the file with everything in int8 would be refused, where a search took none."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """How one format is made."""

    channel_last: Callable[[ExportRecipe], bool]
    """Whether its image inputs are ``(B, H, W, C)``."""
    batch_sizes: tuple[int, ...]
    """Batch sizes its files are compared at."""
    write: Callable[[Source], Candidate]
    """The fp32 file."""
    quantizer: Callable[[Path, Processor], Quantizer]
    """Of an fp32 file, for an int8 file that suits a processor."""
    embed: Callable[[Path, EmbeddedMetadata], None]
    """Put metadata into a written file."""


def _write_onnx(source: Source) -> Candidate:
    specs, encoding = source.record.preprocess.inputs, source.recipe.input_encoding
    network = adjusted(source.network, source.adjustments)
    deployed = Deployed(network, specs, encoding=encoding, channel_last=False).eval()
    inputs = {spec.name: sample_input(spec, encoding, channel_last=False) for spec in specs}
    result = export_onnx(
        deployed,
        inputs,
        simplify=source.recipe.simplify,
        work=source.work,
        output_name=source.record.arch.output_name,
        any_batch=fixed_batch(source.record.arch) is None,
    )
    fp32 = Candidate(
        path=source.work / "student.onnx", format="onnx", int8=False, notes=result.notes
    )
    onnx.save(result.model, fp32.path)
    return fp32


def _onnx_embed(path: Path, metadata: EmbeddedMetadata) -> None:
    model = onnx.load(path)
    embed_in_onnx(model, metadata)
    onnx.save(model, path)


def _write_tflite(source: Source) -> Candidate:
    recipe = source.recipe
    fp32 = Candidate(path=source.work / "student.tflite", format="tflite", int8=False)
    write_tflite(
        source.bundle_folder,
        fp32.path,
        encoding=recipe.input_encoding,
        channel_last=recipe.channel_last,
        adjustments=source.adjustments,
        weights=None if source.recovered is None else source.recovered.weights,
    )
    fp32.path.write_bytes(named_by_signature(fp32.path.read_bytes()))
    return fp32


def _tflite_embed(path: Path, metadata: EmbeddedMetadata) -> None:
    path.write_bytes(embed_in_tflite(path.read_bytes(), metadata))


FORMATS: Final[Mapping[FormatName, Format]] = {
    "onnx": Format(
        channel_last=lambda _: False,
        batch_sizes=(1, 3),
        write=_write_onnx,
        quantizer=OnnxQuantizer,
        embed=_onnx_embed,
    ),
    "tflite": Format(
        channel_last=lambda recipe: recipe.channel_last,
        batch_sizes=(1,),  # TFLite files have a fixed batch of one
        write=_write_tflite,
        quantizer=lambda fp32, _: TfliteQuantizer(fp32),  # its types are the same for all
        embed=_tflite_embed,
    ),
}
"""Format -> how it is made. To add one: its functions, a line here, its test."""


def batch_sizes(name: FormatName, source: Source) -> tuple[int, ...]:
    """Batch sizes that a source's files of a format are compared at."""
    fixed = fixed_batch(source.record.arch)
    return FORMATS[name].batch_sizes if fixed is None else (fixed,)


def write_files(
    name: FormatName, source: Source, samples: ExportSamples, console: Console
) -> tuple[Candidate, ...]:
    """The fp32 file of a format and, where the recipe wants one, the int8 file made from it.

    Args:
        name: Of the format.
        source: What it is made from.
        samples: To calibrate with and to judge by.
        console: Hears about the search.
    """
    fp32 = FORMATS[name].write(source)
    if not source.recipe.wants_int8:
        return (fp32,)
    path = fp32.path.with_name(f"student.int8.{name}")
    learned = () if source.recovered is None else source.recovered.learned
    quantizer = WithLearnedRanges(_quantizer(name, source, fp32.path), learned)
    feeds = None
    if samples.calibration is not None:
        feeds = samples.calibration.feeds(
            source.recipe.input_encoding, channel_last=FORMATS[name].channel_last(source.recipe)
        )
    job = Int8Job(
        recipe=source.recipe,
        fp32=fp32.path,
        feeds=feeds,
        batch=batch_sizes(name, source)[-1],
        accept=lambda path: _keeps_the_budget(path, name, source, samples),
        work=source.work,
        race=source.device.race,
        target=Target.of(source.device),
        adjuster=_adjuster(source),
        remake=lambda adjustments: _remade(name, source, adjustments),
    )
    with console.track(f"int8 for {name}", total=SEARCH_STEPS) as progress:
        found = write_int8(quantizer, job, path, progress)
    _tell(path.name, found, console)
    if source.recovered is not None:
        found = found.model_copy(
            update={
                "recovery": source.recovered.record,
                "ranges": quantizer.learned(found.ranges),
                "saturated": quantizer.saturated(found.saturated, over=SATURATED),
                "notes": (*found.notes, *quantizer.told),
            }
        )
    int8 = Candidate(
        path=path,
        format=name,
        int8=True,
        notes=(*quantizer.notes, *_origin(found), *found.notes),
        int8_recipe=found,
        recovered=source.recovered,
        strict_problems=_strict_problems(quantizer, found, source, samples),
    )
    return fp32, int8


def _adjuster(source: Source) -> Adjuster | None:
    """What proposes for the very network of a source; one with other weights stays as it is."""
    found = source.adjuster
    return found if found is not None and found.network is source.network else None


def _remade(name: FormatName, source: Source, adjustments: Adjustments) -> Basis:
    """The fp32 file of the adjusted network, in a scratch folder of its own.

    Raises:
        ConfigError: If the adjustments are of another network.
    """
    adjusted(source.network, adjustments)  # refused here, not in a converter's process
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-adjusted-", dir=source.work))
    changed = replace(source, adjustments=adjustments, work=folder)
    fp32 = FORMATS[name].write(changed).path
    return Basis(quantizer=_quantizer(name, source, fp32), fp32=fp32, adjustments=adjustments)


def _strict_problems(
    quantizer: Quantizer, found: Int8Recipe, source: Source, samples: ExportSamples
) -> tuple[str, ...]:
    """Asked only where a recovery could mend them: a search that found nothing to take."""
    if found.figures is None or found.figures.fallback is None or not source.recipe.recovery.epochs:
        return ()
    name: FormatName = found.format
    path, reference = source.work / f"strict.{name}", samples.reference
    if found.adjustments:  # its ranges are of the adjusted network
        quantizer = _remade(name, source, found.adjustments).quantizer
    try:
        quantizer.write(prefer(quantizer.units, "static"), found.ranges, path)
        parity = parity_of(path, name, source, samples)
    except (BundleError, ExportError, ParityError) as error:
        return (str(error),)
    return tuple(
        problems(parity, "int8-static", reference.logits, source.recipe, task=reference.task)
    )


def _quantizer(name: FormatName, source: Source, fp32: Path) -> Quantizer:
    """For the processor that the file is made for; a replayed recipe says itself which it was."""
    given = given_recipe(source.recipe, name)
    processor = Target.of(source.device).processor if given is None else given[1].processor
    return FORMATS[name].quantizer(fp32, processor)


def _tell(file: str, found: Int8Recipe, console: Console) -> None:
    """What a search came to."""
    figures = found.figures
    if figures is None:
        return
    where = "" if found.measured_on is None else f" on {found.measured_on.name}"
    console.info(
        f"{file}: {figures.speedup:.2f} times as fast as fp32 in the search{where} "
        f"({figures.candidates} candidates in {figures.seconds:.0f} s)"
    )
    if figures.fallback is not None:
        console.warn(f"{file}: {figures.fallback}; its weights are int8, its arithmetic is not")


def _origin(found: Int8Recipe) -> tuple[str, ...]:
    """A note that says for which machine a searched file is fast."""
    device = found.measured_on
    if device is None:
        return ()
    threads = f"{device.num_threads} thread{'s' if device.num_threads > 1 else ''}"
    return (
        f"int8 chosen by times of {device.name}: {device.machine}, {device.runtime}, {threads}",
    )


def _keeps_the_budget(path: Path, name: FormatName, source: Source, samples: ExportSamples) -> bool:
    """Whether an int8 file would pass the gate: asked before it is chosen."""
    try:
        parity, reference = parity_of(path, name, source, samples), samples.reference
    except ParityError:
        return False
    return not problems(parity, "int8-mixed", reference.logits, source.recipe, task=reference.task)


def parity_of(path: Path, name: FormatName, source: Source, samples: ExportSamples) -> Parity:
    """How far a file without metadata is from what it was made from, one sample a call.

    Raises:
        BundleError: If its runtime cannot run it.
        ParityError: If an answer is not a finite number.
    """
    reference = samples.reference
    channel_last = FORMATS[name].channel_last(source.recipe)
    encodings = [
        input_encoding(spec, source.recipe.input_encoding, channel_last=channel_last)
        for spec in source.record.preprocess.inputs
    ]
    with quiet_stderr():
        session = open_session(path, num_threads=1, encodings=encodings)
        found = run_session(session, reference.samples, batch=1)
    if not np.isfinite(found).all():
        raise ParityError(f"{path.name}: answers NaN or infinity")
    return compare(reference, lambda _: found, batch_sizes=(1,), tolerance=None)
