"""An int8 file of an fp32 file: by search, by name, or by replaying a recipe."""

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.bundle import sha256_of
from edgekd.config import ExportRecipe
from edgekd.console import Tracker
from edgekd.devices.race import Race, race
from edgekd.errors import ConfigError, ExportError
from edgekd.export.quantization.cache import SearchKey, recall, remember
from edgekd.export.quantization.candidates import Quantizer, Workbench, answers
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.recipe import Figures, Int8Recipe, Mode, Range, read_int8_recipe
from edgekd.export.quantization.search import PASSES, Budget, Found, Search
from edgekd.export.quantization.target import Target, this_machine
from edgekd.export.quantization.units import Choices, prefer

Arrays = Mapping[str, NDArray[Any]]

SEARCH_STEPS: Final = PASSES + 1
"""How often :func:`write_int8` advances its progress at most."""

_ERROR_SAMPLES: Final = 24
_SAFETY_DB: Final = 0.5  # other samples than those of the search may err more
SATURATED: Final = 0.001  # of a tensor's values: from here on it is worth a note
_CALIBRATION_VALUES: Final = 20_000  # kept per tensor, over all samples


@dataclass(frozen=True, kw_only=True, eq=False)
class Int8Job:
    """What an int8 file is made from.

    Attributes:
        fp32: The file, without metadata.
        feeds: Calibration samples in its own encoding; ``None`` where no range has to be set.
        batch: Samples per call that the file takes.
        accept: Judges a file on held-out data.
        work: Scratch folder.
        race: Times files on the target.
        target: The machine that the file is made for.
    """

    recipe: ExportRecipe
    fp32: Path
    feeds: Arrays | None
    batch: int
    accept: Callable[[Path], bool]
    work: Path
    race: Race = race
    target: Target = field(default_factory=this_machine)


def write_int8(quantizer: Quantizer, job: Int8Job, target: Path, progress: Tracker) -> Int8Recipe:
    """Write an int8 file and return what would write it again.

    Args:
        quantizer: Of ``job.fp32``.
        job: What it is made from.
        target: The file to write.
        progress: Advanced as the search goes.

    Raises:
        ConfigError: If a recipe to be replayed is not of this file or of these tools.
        DeviceError: If the device that times candidates is gone, or can run none of them.
        ExportError: If the quantizer fails.
    """
    mode = job.recipe.int8 or "fast"
    replayed = _replayed(quantizer, job)
    if replayed is not None:
        found = replayed
    elif mode == "fast":
        found = _searched(quantizer, job, progress)
    else:
        wanted: dict[Mode, Choices] = {
            "full": prefer(quantizer.units, "static"),
            "weights": prefer(quantizer.units),
            "dynamic": prefer(quantizer.units, "dynamic"),
        }
        collector = None if job.feeds is None else _collect(quantizer, job.feeds)
        ranges = {} if collector is None else collector.best()
        found = _recipe(quantizer, job, mode, wanted[mode], ranges)
        if collector is not None:
            found = found.model_copy(update=_seen(collector, ranges))
    quantizer.write(found.operators, found.ranges, target)
    return found


def _searched(quantizer: Quantizer, job: Int8Job, progress: Tracker) -> Int8Recipe:
    if job.feeds is None:
        raise ValueError("a search needs calibration samples")
    start = time.monotonic()
    device = job.target.measuring(quantizer.format, job.recipe.num_threads)
    key = SearchKey.of(
        sha256_of(job.fp32), _fingerprint(job.feeds), quantizer.versions(), job.recipe, device
    )
    known = recall(key) if job.recipe.cache else None
    if known is not None:
        return known
    progress.describe(f"calibrating {quantizer.format}")
    collector = _collect(quantizer, job.feeds)
    bench = _workbench(quantizer, job, job.feeds, collector)
    progress.advance()
    progress.describe(f"searching int8 for {quantizer.format}")
    budget = Budget(
        min_sqnr_db=job.recipe.min_sqnr_db + _SAFETY_DB,
        seconds=job.recipe.search_seconds,
        num_threads=job.recipe.num_threads,
        files_per_race=job.target.files_per_race(job.fp32.stat().st_size),
    )
    search = Search(
        bench, job.fp32, race=job.race, budget=budget, accept=job.accept, progress=progress
    )
    won = search.run()
    figures = _figures(won, bench, time.monotonic() - start)
    found = _recipe(quantizer, job, "fast", won.candidate.choices, bench.ranges).model_copy(
        update={
            "figures": figures,
            "measured_on": device,
            "sensitivity": won.sensitivity,
            **_seen(collector, bench.ranges),
        }
    )
    if job.recipe.cache:
        remember(key, found)
    return found


def _figures(won: Found, bench: Workbench, seconds: float) -> Figures:
    return Figures(
        speedup=won.speedup,
        sqnr_db=bench.sqnr_db(won.candidate),
        seconds=seconds,
        candidates=len(bench.made),
        fallback=won.fallback,
    )


def _workbench(
    quantizer: Quantizer, job: Int8Job, feeds: Arrays, collector: RangeCollector
) -> Workbench:
    """With the ranges, of min-max and the best of all methods, that answer better."""
    rows = len(next(iter(feeds.values())))
    picks = np.unique(np.linspace(0, rows - 1, min(rows, _ERROR_SAMPLES)).round().astype(int))
    few = {name: np.ascontiguousarray(values[picks]) for name, values in feeds.items()}
    expected = answers(job.fp32, few, batch=job.batch)
    benches = []
    for name, ranges in (("min-max", collector.extremes()), ("best", collector.best())):
        folder = job.work / f"{quantizer.format}-{name}"
        folder.mkdir()
        benches.append(
            Workbench(
                quantizer=quantizer,
                ranges=ranges,
                feeds=few,
                answers=expected,
                batch=job.batch,
                folder=folder,
            )
        )
    static = prefer(quantizer.units, "static")
    return max(benches, key=lambda bench: bench.sqnr_db(bench.make(static, "all static")))


def _seen(collector: RangeCollector, ranges: Mapping[str, Range]) -> dict[str, Any]:
    """What calibration saw that a user should know, as fields of a recipe."""
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
    return {"saturated": clipped, "notes": tuple(notes)}


def _collect(quantizer: Quantizer, feeds: Arrays) -> RangeCollector:
    rows = len(next(iter(feeds.values())))
    collector = RangeCollector(seed=0, per_batch=max(64, _CALIBRATION_VALUES // max(rows, 1)))
    quantizer.calibrate(feeds, collector)
    return collector


def _recipe(
    quantizer: Quantizer,
    job: Int8Job,
    mode: Mode,
    choices: Choices,
    ranges: Mapping[str, Range],
) -> Int8Recipe:
    return Int8Recipe(
        format="onnx" if quantizer.format == "onnx" else "tflite",
        mode=mode,
        source_sha256=sha256_of(job.fp32),
        processor=job.target.processor,
        versions=quantizer.versions(),
        operators=dict(choices),
        ranges=dict(ranges),
    )


def given_recipe(recipe: ExportRecipe, model_format: str) -> tuple[str, Int8Recipe] | None:
    """The int8 recipe of a format that shall be replayed, with its path.

    Raises:
        ConfigError: If a recipe is damaged, or only other formats have one.
    """
    found = [(path, read_int8_recipe(Path(path))) for path in recipe.int8_recipe]
    mine = [(path, given) for path, given in found if given.format == model_format]
    if not mine:
        if found:
            raise ConfigError(
                f"--int8-recipe: none of the recipes is for {model_format}; give its recipe "
                f"as well, or --format {found[0][1].format}"
            )
        return None
    return mine[-1]


def _replayed(quantizer: Quantizer, job: Int8Job) -> Int8Recipe | None:
    """The given recipe of this format, if it is one of this very file."""
    given = given_recipe(job.recipe, quantizer.format)
    if given is None:
        return None
    path, recipe = given
    if recipe.source_sha256 != sha256_of(job.fp32):
        raise ConfigError(
            f"{path}: made for another fp32 file (sha256 {recipe.source_sha256[:12]}); "
            "give the bundle, flags and tool versions it was made with"
        )
    units = {unit.name: unit for unit in quantizer.units}
    strange = sorted(
        name
        for name in units.keys() | recipe.operators.keys()
        if name not in units or recipe.operators.get(name) not in units[name].choices
    )
    if strange:
        raise ConfigError(
            f"{path}: does not fit the graph at {strange[0]!r} ({len(strange)} operators); "
            "it was written by another version: search again"
        )
    if "static" in recipe.operators.values() and not recipe.ranges:
        raise ConfigError(f"{path}: holds no range for its static operators: search again")
    return recipe


def check_full(float_operators: Mapping[str, int], file: str) -> None:
    """Refuse a file of ``--int8 full`` that computes anything in float.

    Raises:
        ExportError: With the list of operators.
    """
    if float_operators:
        names = ", ".join(f"{name} x{count}" for name, count in float_operators.items())
        raise ExportError(
            f"{file}: --int8 full, but these operators cannot compute in int8: {names}; "
            "take --int8 fast, or a student without them"
        )


def _fingerprint(feeds: Arrays) -> str:
    digest = hashlib.sha256()
    for name in sorted(feeds):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(feeds[name]).tobytes())
    return digest.hexdigest()
