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
from edgekd.export.adjustments.record import KINDS, Adjustments
from edgekd.export.int8_basis import Basis, Chosen, Proposes, Trial, best_basis
from edgekd.export.quantization.cache import SearchKey, recall, remember
from edgekd.export.quantization.candidates import Quantizer
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.recipe import Figures, Int8Recipe, Mode, Range, read_int8_recipe
from edgekd.export.quantization.search import PASSES, Budget, Found, Search
from edgekd.export.quantization.sensitivity import layer_errors
from edgekd.export.quantization.target import Target, this_machine
from edgekd.export.quantization.units import Choices, prefer

Arrays = Mapping[str, NDArray[Any]]

SEARCH_STEPS: Final = PASSES + 2 + len(KINDS)
"""How often :func:`write_int8` advances its progress at most."""

_SAFETY_DB: Final = 0.5  # other samples than those of the search may err more
SATURATED: Final = 0.001  # of a tensor's values: from here on it is worth a note


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
        adjuster: Proposes changes of the network; ``None`` where it has to stay as it is.
        remake: The basis of a changed network; ``None`` where there is no network to change.
    """

    recipe: ExportRecipe
    fp32: Path
    feeds: Arrays | None
    batch: int
    accept: Callable[[Path], bool]
    work: Path
    race: Race = race
    target: Target = field(default_factory=this_machine)
    adjuster: Proposes | None = None
    remake: Callable[[Adjustments], Basis] | None = None


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
    plain = Basis(quantizer=quantizer, fp32=job.fp32)
    replayed = _replayed(plain, job)
    if replayed is not None:
        basis, found = replayed
    elif (job.recipe.int8 or "fast") == "fast":
        basis, found = _searched(plain, job, progress)
    else:
        basis, found = _named(plain, job, progress)
    basis.quantizer.write(found.operators, found.ranges, target)
    return found


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
    layers = layer_errors(chosen.bench, choices, ())
    found = _recipe(chosen.basis, job, "full", choices, chosen.bench.ranges)
    return chosen.basis, found.model_copy(update={"layers": layers, **_about(chosen)})


def _searched(plain: Basis, job: Int8Job, progress: Tracker) -> tuple[Basis, Int8Recipe]:
    if job.feeds is None:
        raise ValueError("a search needs calibration samples")
    device = job.target.measuring(plain.quantizer.format, job.recipe.num_threads)
    key = SearchKey.of(
        sha256_of(plain.fp32),
        _fingerprint(job.feeds),
        plain.quantizer.versions(),
        job.recipe,
        device,
    )
    known = _known(plain, job, key)
    if known is not None:
        return known
    start, name = time.monotonic(), plain.quantizer.format
    progress.describe(f"calibrating {name}")
    chosen = _best_basis(plain, job, job.feeds, progress)
    progress.advance()
    progress.describe(f"searching int8 for {name}")
    won = _search(chosen, job, progress)
    choices, figures = won.candidate.choices, _figures(won, chosen, time.monotonic() - start)
    progress.describe(f"measuring layers of {name}")
    layers = layer_errors(chosen.bench, choices, won.sensitivity)
    found = _recipe(chosen.basis, job, "fast", choices, chosen.bench.ranges).model_copy(
        update={
            "figures": figures,
            "measured_on": device,
            "sensitivity": won.sensitivity,
            "layers": layers,
            **_about(chosen),
        }
    )
    if job.recipe.cache:
        remember(key, found)
    return chosen.basis, found


def _known(plain: Basis, job: Int8Job, key: SearchKey) -> tuple[Basis, Int8Recipe] | None:
    """What an earlier search found, if its file can be made again from what it started from."""
    known = recall(key) if job.recipe.cache else None
    if known is None:
        return None
    basis = _basis_of(plain, job, known.adjustments)
    if sha256_of(basis.fp32) != known.source_sha256:
        return None
    if job.adjuster is not None:
        job.adjuster.settled = known.adjustments
    return basis, known


def _search(chosen: Chosen, job: Int8Job, progress: Tracker) -> Found:
    budget = Budget(
        min_sqnr_db=job.recipe.min_sqnr_db + _SAFETY_DB,
        num_threads=job.recipe.num_threads,
        files_per_race=job.target.files_per_race(job.fp32.stat().st_size),
    )
    return Search(
        chosen.bench, job.fp32, race=job.race, budget=budget, accept=job.accept, progress=progress
    ).run()


def _best_basis(plain: Basis, job: Int8Job, feeds: Arrays, progress: Tracker) -> Chosen:
    seconds = None if job.recipe.int8 == "full" else job.recipe.search_seconds
    trial = Trial(
        feeds=feeds,
        batch=job.batch,
        folder=job.work,
        adjuster=job.adjuster,
        remake=job.remake,
        seconds=seconds,
    )
    return best_basis(plain, trial, progress)


def _about(chosen: Chosen) -> dict[str, Any]:
    """What was tried and seen on the way to a basis, as fields of a recipe."""
    seen = _seen(chosen.collector, chosen.bench.ranges)
    return {**seen, "tried": chosen.tried, "notes": (*seen["notes"], *chosen.notes)}


def _figures(won: Found, chosen: Chosen, seconds: float) -> Figures:
    return Figures(
        speedup=won.speedup,
        sqnr_db=chosen.bench.sqnr_db(won.candidate),
        seconds=seconds,
        candidates=len(chosen.bench.made),
        fallback=won.fallback,
    )


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


def _recipe(
    basis: Basis, job: Int8Job, mode: Mode, choices: Choices, ranges: Mapping[str, Range]
) -> Int8Recipe:
    return Int8Recipe(
        format="onnx" if basis.quantizer.format == "onnx" else "tflite",
        mode=mode,
        source_sha256=sha256_of(basis.fp32),
        adjustments=basis.adjustments,
        processor=job.target.processor,
        versions=basis.quantizer.versions(),
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


def _replayed(plain: Basis, job: Int8Job) -> tuple[Basis, Int8Recipe] | None:
    """The given recipe of this format and what it starts from, if it is one of this very file."""
    given = given_recipe(job.recipe, plain.quantizer.format)
    if given is None:
        return None
    path, recipe = given
    basis = _basis_of(plain, job, recipe.adjustments)
    if recipe.source_sha256 != sha256_of(basis.fp32):
        raise ConfigError(
            f"{path}: made for another fp32 file (sha256 {recipe.source_sha256[:12]}); "
            "give the bundle, flags and tool versions it was made with"
        )
    units = {unit.name: unit for unit in basis.quantizer.units}
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
    return basis, recipe


def _basis_of(plain: Basis, job: Int8Job, adjustments: Adjustments) -> Basis:
    """The network as it is, or adjusted again as a recipe says."""
    return job.remake(adjustments) if adjustments and job.remake is not None else plain


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
