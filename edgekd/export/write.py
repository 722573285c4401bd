"""The files of one format: fp32, and the int8 one that is made from it."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Final

from edgekd.bundle import to_json
from edgekd.console import Console
from edgekd.errors import BundleError, ExportError, ParityError
from edgekd.export.adjustments.adjuster import Adjuster
from edgekd.export.adjustments.apply import adjusted
from edgekd.export.adjustments.record import Adjustments
from edgekd.export.formats import FORMATS, Candidate, FormatName, Source, batch_sizes
from edgekd.export.held_out import keeps_the_budget, metric_drop_of, parity_of
from edgekd.export.int8 import SATURATED, SEARCH_STEPS, write_int8
from edgekd.export.int8_basis import Basis
from edgekd.export.int8_job import Int8Job
from edgekd.export.int8_replay import given_recipe
from edgekd.export.parity import problems
from edgekd.export.quantization.candidates import Quantizer
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.learned import WithLearnedRanges
from edgekd.export.quantization.recipe import Int8Recipe
from edgekd.export.quantization.sensitivity import MetricDrop
from edgekd.export.quantization.target import Target
from edgekd.export.quantization.units import prefer
from edgekd.export.samples import ExportSamples

_UNJUDGED: Final = "the file of its recipe, byte for byte; without data it was not judged again"


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
    return fp32, _int8_file(name, source, samples, fp32.path, console)


def _int8_file(
    name: FormatName, source: Source, samples: ExportSamples, fp32: Path, console: Console
) -> Candidate:
    path = fp32.with_name(f"student.int8.{name}")
    quantizer = WithLearnedRanges(_quantizer(name, source, fp32), source.learned)
    with (
        console.track(f"int8 for {name}", total=SEARCH_STEPS) as progress,
        source.search_time.part() as clock,
    ):
        job = _job(name, source, samples, fp32, clock, console)
        found = write_int8(quantizer, job, path, progress)
    if given_recipe(source.recipe, name) is None:  # what a replay found was told when it was found
        _tell(path.name, found, console)
    if source.recovered is not None:
        found = found.model_copy(update={"recovery": source.recovered.record})
    if source.learned:
        found = found.model_copy(
            update={
                "ranges": quantizer.learned(found.ranges),
                "saturated": quantizer.saturated(found.saturated, over=SATURATED),
                "notes": (*found.notes, *quantizer.told),
            }
        )
    made_again = _is_made_again(name, source)
    unjudged = made_again and samples.reference.split is None
    return Candidate(
        path=path,
        format=name,
        int8=True,
        notes=(
            *quantizer.notes,
            *_origin(found),
            *_fallback(found),
            *found.notes,
            *[_UNJUDGED] * unjudged,
        ),
        int8_recipe=found,
        recovered=source.recovered,
        strict_problems=_strict_problems(quantizer, found, source, samples),
        made_again=made_again,
        fp32_bytes=fp32.stat().st_size,
    )


def _is_made_again(name: FormatName, source: Source) -> bool:
    """Whether the file was held against one that an earlier export published."""
    given = given_recipe(source.recipe, name)
    return given is not None and given[1].file_sha256 is not None


def _job(
    name: FormatName,
    source: Source,
    samples: ExportSamples,
    fp32: Path,
    clock: Clock,
    console: Console,
) -> Int8Job:
    feeds = None
    if samples.calibration is not None:
        feeds = samples.calibration.feeds(
            source.recipe.input_encoding, channel_last=FORMATS[name].channel_last(source.recipe)
        )
    return Int8Job(
        recipe=source.recipe,
        fp32=fp32,
        feeds=feeds,
        batch=batch_sizes(name, source)[-1],
        accept=lambda path: keeps_the_budget(path, name, source, samples),
        metric_drop=_metric_drop(name, source, samples),
        work=source.work,
        race=source.device.race,
        metadata_bytes=len(to_json(source.record)),  # labels, preprocessing, provenance: about so
        tell=console.info,
        remembers=not source.learned,  # a remembered search knows nothing of learned ranges
        target=Target.of(source.device),
        clock=clock,
        adjuster=_adjuster(source),
        remake=lambda adjustments: _remade(name, source, adjustments),
    )


def _metric_drop(name: FormatName, source: Source, samples: ExportSamples) -> MetricDrop | None:
    """Judges files by the metric, where there are labels."""
    if samples.reference.labels is None:
        return None
    return lambda path: metric_drop_of(path, name, source, samples)


def _adjuster(source: Source) -> Adjuster | None:
    """What proposes for the very network of a source.

    One with other weights stays as it is, and so does one whose ranges are learned already: those
    of an adjusted network would be others.
    """
    found = source.adjuster
    fits = found is not None and found.network is source.network and not source.learned
    return found if fits else None


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
    for note in _fallback(found):
        console.warn(f"{file}: {note}")


def _fallback(found: Int8Recipe) -> tuple[str, ...]:
    """A note on a file that no search recommended."""
    if found.figures is None or found.figures.fallback is None:
        return ()
    return (f"{found.figures.fallback}; its weights are int8, its arithmetic is not",)


def _origin(found: Int8Recipe) -> tuple[str, ...]:
    """A note that says for which machine a searched file is fast."""
    device = found.measured_on
    if device is None:
        return ()
    threads = f"{device.num_threads} thread{'s' if device.num_threads > 1 else ''}"
    return (
        f"int8 chosen by times of {device.name}: {device.machine}, {device.runtime}, {threads}",
    )
