"""The fp32 file that an int8 file is made from: the network as it is, or adjusted for 8 bits.

An adjusted network gives another fp32 file and another int8 file. Which one is taken is measured:
each kind of adjustment is tried on top of those that were kept, and kept where the int8 file with
every operator in int8 answers more exactly than before.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from edgekd.console import Tracker
from edgekd.errors import ExportError
from edgekd.export.adjustments.record import AS_IT_IS, KINDS, Adjustments, Kind
from edgekd.export.quantization.calibration import collect
from edgekd.export.quantization.candidates import (
    Quantizer,
    Workbench,
    answers,
    error_rows,
    rows_of,
    some_rows,
)
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.units import prefer
from edgekd.records import Adjustment
from edgekd.runtimes.session import Arrays

_WORTH_DB: Final = 0.1  # a smaller gain on a few samples says nothing
_CAUTIOUS: Final = 10_000  # values, of which extremes count as two
_JUDGED_ON: Final = 64  # samples that set the ranges in which adjustments are judged
_SHARE: Final = 0.5  # of the time: adjustments end by then
NO_TIME: Final = "--search-seconds left no time to try"
_FIRST_GUESS: Final = 2.0  # times what the network as it is took: an adjusted one is also converted


@dataclass(frozen=True, kw_only=True, eq=False)
class Basis:
    """An fp32 file, without metadata.

    Attributes:
        quantizer: Of it.
        fp32: The file.
        adjustments: Of the network in it.
    """

    quantizer: Quantizer
    fp32: Path
    adjustments: Adjustments = AS_IT_IS


class Proposes(Protocol):
    """Where adjustments come from."""

    settled: Adjustments | None
    """What was kept for the last format, for the next to start from."""

    def propose(self, kind: Kind, kept: Adjustments) -> Adjustments | None:
        """What was kept and one more kind; ``None`` where the network has no place for it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """What it takes to try a basis.

    Attributes:
        feeds: Calibration samples in the files' own encoding.
        batch: Samples per call that the files take.
        folder: Scratch folder.
        adjuster: ``None`` where the network has to stay as it is.
        remake: The basis of an adjusted network.
        clock: Of this and the search after it.
    """

    feeds: Arrays
    batch: int
    folder: Path
    adjuster: Proposes | None
    remake: Callable[[Adjustments], Basis] | None
    clock: Clock = field(default_factory=Clock)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """A basis with all that is known of it.

    Attributes:
        collector: Has seen its activations.
        bench: Writes and measures its int8 files.
        static_db: SQNR of the file whose operators are all in int8.
        tried: Adjustments, whether or not they are in the basis.
        notes: What a user should know about them.
    """

    basis: Basis
    collector: RangeCollector
    bench: Workbench
    static_db: float
    tried: tuple[Adjustment, ...] = ()
    notes: tuple[str, ...] = ()


def best_basis(plain: Basis, trial: Trial, progress: Tracker) -> Chosen:
    """The basis whose int8 file errs least, of the network as it is and as it can be adjusted.

    Adjustments are judged with the ranges of a part of the samples, and only as long as the search
    after them keeps its share of the time; the basis that is taken then sees all samples.

    Args:
        plain: The network as it is; its answers are right.
        trial: With samples.
        progress: Advanced once per kind of adjustment.
    """
    judge = _Judge.with_right_answers(plain, trial)
    part = trial.feeds if trial.adjuster is None else some_rows(trial.feeds, _JUDGED_ON)
    best = _climb(judge.of(plain, "plain", part), judge, part, progress)
    if part is trial.feeds:
        return best
    chosen = judge.of(best.basis, "chosen", trial.feeds)
    return replace(chosen, tried=best.tried, notes=best.notes)


def _climb(best: Chosen, judge: "_Judge", part: Arrays, progress: Tracker) -> Chosen:
    """The best after every kind of adjustment that there was time for."""
    trial = judge.trial
    if trial.adjuster is None or trial.remake is None:
        return best
    tried: list[Adjustment] = []
    late: list[str] = []
    notes: list[str] = []
    clock = trial.clock
    expected = _FIRST_GUESS * clock.spent()
    try:
        for name, propose in _steps(trial.adjuster):
            begun = clock.spent()
            if not clock.allows(expected, until=_SHARE):
                late.append(name)
                continue
            progress.describe(f"trying {name} for {best.basis.quantizer.format}")
            proposal = propose(best.basis.adjustments)
            if proposal is not None:
                changed = judge.of(trial.remake(proposal), f"adjusted{len(tried)}", part)
                tried.append(_outcome(name, best, changed))
                best = changed if tried[-1].applied else best
                expected = clock.spent() - begun
            progress.advance()
    except ExportError as error:  # the network as it is can still be quantized
        notes.append(f"adjustments for int8 ended early: {str(error).splitlines()[0]}")
    if late:
        notes.append(f"{NO_TIME} {', '.join(late)}")
    if best.basis.adjustments or not late:  # what there was no time for may help the next format
        trial.adjuster.settled = best.basis.adjustments
    return replace(best, tried=tuple(tried), notes=tuple(notes))


def _steps(
    adjuster: Proposes,
) -> list[tuple[str, Callable[[Adjustments], Adjustments | None]]]:
    """One kind after the other; for a second format, what the first has shown to help.

    Both formats round alike, and to make and measure every step again takes minutes.
    """
    settled = adjuster.settled
    if settled is not None:
        return [(_name(settled), lambda _: settled)] if settled else []
    return [(kind, partial(adjuster.propose, kind)) for kind in KINDS]


def _outcome(name: str, before: Chosen, after: Chosen) -> Adjustment:
    places = _places(after.basis.adjustments) - _places(before.basis.adjustments)
    return Adjustment(
        name=name,
        places=places,
        sqnr_db_before=before.static_db,
        sqnr_db_after=after.static_db,
        applied=after.static_db > before.static_db + _WORTH_DB,
    )


def _name(adjustments: Adjustments) -> str:
    kinds: set[Kind] = {scaling.kind for scaling in adjustments.scalings}
    if adjustments.shifts:
        kinds.add("bias correction")
    return " and ".join(kind for kind in KINDS if kind in kinds)


def _places(adjustments: Adjustments) -> int:
    return len(adjustments.scalings) + len(adjustments.shifts)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Judge:
    trial: Trial
    few: Arrays
    """On which errors are measured."""
    right: NDArray[Any]
    """Answers to them."""

    @classmethod
    def with_right_answers(cls, plain: Basis, trial: Trial) -> "_Judge":
        few = rows_of(trial.feeds, error_rows(len(next(iter(trial.feeds.values())))))
        right = answers(plain.fp32, few, batch=trial.batch)
        return cls(trial=trial, few=few, right=right)

    def of(self, basis: Basis, label: str, feeds: Arrays) -> Chosen:
        """With the ranges of these samples that answer best.

        Which values may be cut off is judged tensor by tensor, but few large ones may decide the
        answer: so a file with none cut off, one with few and one with all that pays compete.
        """
        collector = collect(basis.quantizer, feeds)
        benches = []
        for name, ranges in (
            ("min-max", collector.extremes()),
            ("cautious", collector.best(of_at_most=_CAUTIOUS)),
            ("best", collector.best()),
        ):
            folder = self.trial.folder / f"{basis.quantizer.format}-{label}-{name}"
            folder.mkdir()
            benches.append(
                Workbench(
                    quantizer=basis.quantizer,
                    ranges=ranges,
                    feeds=self.few,
                    answers=self.right,
                    batch=self.trial.batch,
                    folder=folder,
                    clock=self.trial.clock,
                )
            )
        bench = max(benches, key=_static_db)
        return Chosen(basis=basis, collector=collector, bench=bench, static_db=_static_db(bench))


def _static_db(bench: Workbench) -> float:
    """Of the file with every operator in int8, or, where it cannot be written, every product."""
    units = bench.quantizer.units
    everything = bench.make(prefer(units, "static"), "all static")
    if everything.path is not None:
        return bench.sqnr_db(everything)
    products = prefer(units, "static", products_only=True)
    return bench.sqnr_db(bench.make(products, "products static"))
