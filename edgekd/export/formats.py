"""What can be written, in one table: how the files of each format are made."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import onnx
from torch import nn

from edgekd.config import ExportRecipe
from edgekd.devices.table import THIS_MACHINE, Device
from edgekd.export.adjustments.adjuster import Adjuster
from edgekd.export.adjustments.apply import adjusted
from edgekd.export.adjustments.record import AS_IT_IS, Adjustments
from edgekd.export.metadata import (
    EmbeddedMetadata,
    embed_in_onnx,
    embed_in_tflite,
    named_by_signature,
)
from edgekd.export.onnx_file import export_onnx
from edgekd.export.prepare import Deployed, sample_input
from edgekd.export.program import fixed_batch
from edgekd.export.quantization.candidates import Quantizer
from edgekd.export.quantization.clock import SearchTime
from edgekd.export.quantization.onnx_quantizer import OnnxQuantizer
from edgekd.export.quantization.recipe import Int8Recipe, Processor
from edgekd.export.quantization.tflite_quantizer import TfliteQuantizer
from edgekd.export.recovered import Recovered
from edgekd.export.tflite_file import write_tflite
from edgekd.records import StudentBundle

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
    search_time: SearchTime = field(default_factory=lambda: SearchTime(math.inf, searches=1))
    """Of the searches of all formats together."""


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
    made_again: bool = False
    """Whether it is, byte for byte, an int8 file that has passed its gate before."""


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
