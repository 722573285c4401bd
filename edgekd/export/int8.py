"""An int8 file of an fp32 file: by search, by name, or by replaying a recipe."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from edgekd.bundle import sha256_of
from edgekd.console import Tracker
from edgekd.devices.book import LOCAL
from edgekd.devices.other_load import OtherLoad
from edgekd.export.adjustments.record import KINDS
from edgekd.export.int8_basis import NO_TIME, Basis, Chosen, Trial, best_basis
from edgekd.export.int8_job import Int8Job
from edgekd.export.int8_replay import recalled, replayed, versions_of, written_again
from edgekd.export.quantization.cache import SearchKey, remember
from edgekd.export.quantization.candidates import Quantizer
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.recipe import Figures, Int8Recipe, Mode, Range
from edgekd.export.quantization.search import PASSES, Budget, Found, Search
from edgekd.export.quantization.sensitivity import LayerErrors, layer_errors
from edgekd.export.quantization.units import Choices, prefer
from edgekd.records import BUSY_CORES
from edgekd.runtimes.session import Arrays

SEARCH_STEPS: Final = PASSES + 2 + len(KINDS)
"""How often :func:`write_int8` advances its progress at most."""

_SAFETY_DB: Final = 0.5  # other samples than those of the search may err more
SATURATED: Final = 0.001  # of a tensor's values: from here on it is worth a note
_OTHERS: Final = "other work kept"
_FEW: Final = 16  # calibration samples; with less it is worth a note


def write_int8(quantizer: Quantizer, job: Int8Job, target: Path, progress: Tracker) -> Int8Recipe:
    """Write an int8 file and return what would write it again.

    Args:
        quantizer: Of ``job.fp32``.
        job: What it is made from.
        target: The file to write.
        progress: Advanced as the search goes.

    Raises:
        ConfigError: If a recipe to be replayed is not of this file, or makes another one.
        DeviceError: If the device that times candidates is gone, or can run none of them.
        ExportError: If the quantizer fails.
    """
    plain = Basis(quantizer=quantizer, fp32=job.fp32)
    given = replayed(plain, job)
    if given is not None:
        return written_again(*given, target)
    if (job.recipe.int8 or "fast") == "fast":
        return _searched(plain, job, target, progress)
    return _written(*_named(plain, job, progress), target)


def _written(basis: Basis, recipe: Int8Recipe, target: Path) -> Int8Recipe:
    """The recipe of the file that was written."""
    basis.quantizer.write(recipe.operators, recipe.ranges, target)
    return recipe.model_copy(update={"file_sha256": sha256_of(target)})


def _named(plain: Basis, job: Int8Job, progress: Tracker) -> tuple[Basis, Int8Recipe]:
    """By a mode that says how every operator computes."""
    if job.recipe.int8 != "full":
        mode: Mode = "weights" if job.recipe.int8 == "weights" else "dynamic"
        choices = prefer(plain.quantizer.units, *(() if mode == "weights" else ("dynamic",)))
        return plain, _recipe(plain, job, mode, choices, {})
    if job.feeds is None:
        raise ValueError("static int8 needs calibration samples")
    chosen = _best_basis(plain, job, job.feeds, progress)
    choices = prefer(chosen.basis.quantizer.units, "static")
    layers = layer_errors(chosen.bench, choices, (), job.metric_drop)
    found = _recipe(chosen.basis, job, "full", choices, chosen.bench.ranges)
    return chosen.basis, _described(found, chosen, layers, job.feeds)


def _searched(plain: Basis, job: Int8Job, target: Path, progress: Tracker) -> Int8Recipe:
    if job.feeds is None:
        raise ValueError("a search needs calibration samples")
    device = job.target.measuring(plain.quantizer.format, job.recipe.num_threads)
    key = SearchKey.of(
        sha256_of(plain.fp32),
        _fingerprint(job.feeds),
        versions_of(plain.quantizer),
        job.recipe,
        device,
    )
    known = recalled(plain, job, key)
    if known is not None:
        again = _written(*known, target)
        if again.file_sha256 == known[1].file_sha256:
            job.tell(f"{target.name}: as an earlier search found it{_doubt(again)}")
            return again
    start, name = time.monotonic(), plain.quantizer.format
    progress.describe(f"calibrating {name}")
    chosen = _best_basis(plain, job, job.feeds, progress)
    progress.advance()
    progress.describe(f"searching int8 for {name}")
    others = OtherLoad()
    won = _search(chosen, job, progress)
    busy = _busy(others) if job.target.info.name == LOCAL else ()
    choices, figures = won.candidate.choices, _figures(won, chosen, time.monotonic() - start)
    progress.describe(f"measuring layers of {name}")
    layers = layer_errors(chosen.bench, choices, won.sensitivity, job.metric_drop)
    found = _recipe(chosen.basis, job, "fast", choices, chosen.bench.ranges)
    measured = {"figures": figures, "measured_on": device, "sensitivity": won.sensitivity}
    found = _described(found.model_copy(update=measured), chosen, layers, job.feeds, busy)
    found = _written(chosen.basis, found, target)
    if job.remembers:
        remember(key, found)
    return found


def _doubt(known: Int8Recipe) -> str:
    """What speaks for another search."""
    doubts = [note for note in known.notes if note.startswith((NO_TIME, _OTHERS))]
    if not doubts:
        return " (--no-cache: search again)"
    return f", when {' and '.join(doubts)}; --no-cache searches again"


def _search(chosen: Chosen, job: Int8Job, progress: Tracker) -> Found:
    budget = Budget(
        min_sqnr_db=job.recipe.min_sqnr_db + _SAFETY_DB,
        num_threads=job.recipe.num_threads,
        files_per_race=job.target.files_per_race(job.fp32.stat().st_size),
        reserved_bytes=job.metadata_bytes,
    )
    return Search(
        chosen.bench, job.fp32, race=job.race, budget=budget, accept=job.accept, progress=progress
    ).run()


def _busy(others: OtherLoad) -> tuple[str, ...]:
    """What makes the times of candidates doubtful."""
    cores = others.cores()
    if cores is None or cores <= BUSY_CORES:
        return ()
    return (f"{_OTHERS} {cores:.1f} cores busy while candidates were timed",)


def _best_basis(plain: Basis, job: Int8Job, feeds: Arrays, progress: Tracker) -> Chosen:
    trial = Trial(
        feeds=feeds,
        batch=job.batch,
        folder=job.work,
        adjuster=job.adjuster,
        remake=job.remake,
        clock=Clock() if job.recipe.int8 == "full" else job.clock,
    )
    return best_basis(plain, trial, progress)


def _described(
    recipe: Int8Recipe,
    chosen: Chosen,
    layers: LayerErrors,
    feeds: Arrays,
    busy: tuple[str, ...] = (),
) -> Int8Recipe:
    """A recipe with what was tried, seen and measured on the way to its file."""
    seen = _seen(chosen.collector, chosen.bench.ranges)
    return recipe.model_copy(
        update={
            "saturated": seen.saturated,
            "layers": layers.measured,
            "unmeasured_layers": layers.unmeasured,
            "tried": chosen.tried,
            "notes": (*_few_samples(feeds), *seen.notes, *chosen.notes, *busy),
        }
    )


def _few_samples(feeds: Arrays) -> tuple[str, ...]:
    rows = len(next(iter(feeds.values())))
    if rows >= _FEW:
        return ()
    return (f"ranges were set from {rows} sample{'s' * (rows != 1)} only",)


def _figures(won: Found, chosen: Chosen, seconds: float) -> Figures:
    return Figures(
        speedup=won.speedup,
        sqnr_db=chosen.bench.sqnr_db(won.candidate),
        seconds=seconds,
        candidates=len(chosen.bench.made),
        fallback=won.fallback,
    )


class _Seen(NamedTuple):
    """What calibration saw that a user should know.

    Attributes:
        saturated: Activation to the share of its values outside its range, where that is much.
        notes: In words.
    """

    saturated: dict[str, float]
    notes: tuple[str, ...]


def _seen(collector: RangeCollector, ranges: Mapping[str, Range]) -> _Seen:
    clipped = {n: share for n, share in collector.clipped(ranges).items() if share > SATURATED}
    constant = collector.constant()
    notes = []
    if clipped:
        worst = max(clipped, key=lambda name: clipped[name])
        notes.append(
            f"{len(clipped)} of {len(ranges)} activations clip more than {SATURATED:.1%} of what "
            f"calibration saw, most of all {worst} ({clipped[worst]:.1%})"
        )
    if constant:
        notes.append(
            f"{len(constant)} of {len(ranges)} activations never changed in calibration, "
            f"for example {constant[0]}"
        )
    return _Seen(saturated=clipped, notes=tuple(notes))


def _recipe(
    basis: Basis, job: Int8Job, mode: Mode, choices: Choices, ranges: Mapping[str, Range]
) -> Int8Recipe:
    return Int8Recipe(
        format="onnx" if basis.quantizer.format == "onnx" else "tflite",
        mode=mode,
        source_sha256=sha256_of(basis.fp32),
        adjustments=basis.adjustments,
        processor=job.target.processor,
        versions=versions_of(basis.quantizer),
        operators=dict(choices),
        ranges=dict(ranges),
    )


def _fingerprint(feeds: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(feeds):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(feeds[name]).tobytes())
    return digest.hexdigest()
