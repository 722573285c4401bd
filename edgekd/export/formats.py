"""What can be written, in one table: how the files of each format are made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import onnx
from torch import nn

from edgekd.config import ExportRecipe
from edgekd.export.metadata import EmbeddedMetadata, embed_in_onnx, embed_in_tflite
from edgekd.export.onnx_file import export_onnx
from edgekd.export.prepare import Deployed, sample_input
from edgekd.export.quantization.calibration import CalibrationSamples
from edgekd.export.quantization.onnx_int8 import quantize_onnx
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


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A written file that has not passed its gate yet."""

    path: Path
    format: FormatName
    int8: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Format:
    """How one format is made."""

    channel_last: Callable[[ExportRecipe], bool]
    """Whether its image inputs are ``(B, H, W, C)``."""
    batch_sizes: tuple[int, ...]
    """Batch sizes its files are compared at."""
    write: Callable[[Source, CalibrationSamples | None], tuple[Candidate, ...]]
    """The fp32 file, and with calibration samples also the int8 file, from that fp32 file."""
    embed: Callable[[Path, EmbeddedMetadata], None]
    """Put metadata into a written file."""


def _write_onnx(source: Source, calibration: CalibrationSamples | None) -> tuple[Candidate, ...]:
    specs, encoding = source.record.preprocess.inputs, source.recipe.input_encoding
    deployed = Deployed(source.network, specs, encoding=encoding, channel_last=False).eval()
    inputs = {spec.name: sample_input(spec, encoding, channel_last=False) for spec in specs}
    result = export_onnx(
        deployed,
        inputs,
        simplify=source.recipe.simplify,
        work=source.work,
        output_name=source.record.arch.output_name,
    )
    fp32 = Candidate(
        path=source.work / "student.onnx", format="onnx", int8=False, notes=result.notes
    )
    onnx.save(result.model, fp32.path)
    if calibration is None:
        return (fp32,)
    model, notes = quantize_onnx(result.model, calibration.feeds(encoding, channel_last=False))
    int8 = Candidate(path=source.work / "student.int8.onnx", format="onnx", int8=True, notes=notes)
    onnx.save(model, int8.path)
    return fp32, int8


def _onnx_embed(path: Path, metadata: EmbeddedMetadata) -> None:
    model = onnx.load(path)
    embed_in_onnx(model, metadata)
    onnx.save(model, path)


def _write_tflite(source: Source, calibration: CalibrationSamples | None) -> tuple[Candidate, ...]:
    recipe = source.recipe
    encoding, channel_last = recipe.input_encoding, recipe.channel_last
    fp32 = Candidate(path=source.work / "student.tflite", format="tflite", int8=False)
    int8 = Candidate(path=source.work / "student.int8.tflite", format="tflite", int8=True)
    feeds = None
    if calibration is not None:
        feeds = calibration.feeds(encoding, channel_last=channel_last)
    write_tflite(
        source.bundle_folder,
        fp32.path,
        encoding=encoding,
        channel_last=channel_last,
        int8=None if feeds is None else int8.path,
        calibration=feeds,
    )
    return (fp32,) if feeds is None else (fp32, int8)


def _tflite_embed(path: Path, metadata: EmbeddedMetadata) -> None:
    path.write_bytes(embed_in_tflite(path.read_bytes(), metadata))


FORMATS: Final[Mapping[FormatName, Format]] = {
    "onnx": Format(
        channel_last=lambda _: False,
        batch_sizes=(1, 3),
        write=_write_onnx,
        embed=_onnx_embed,
    ),
    "tflite": Format(
        channel_last=lambda recipe: recipe.channel_last,
        batch_sizes=(1,),  # TFLite files have a fixed batch of one
        write=_write_tflite,
        embed=_tflite_embed,
    ),
}
"""Format -> how it is made. To add one: its functions, a line here, its test."""
