"""The search for the fastest int8 file within an error budget: measured, never guessed.

It starts from a handful of recipes that tool chains and habit suggest, keeps the best, and then
changes one group of operators at a time: first all of one kind, then all in one stretch of the
network. All changes of a pass are timed against each other in one race; those that help are
combined, and what the combination really costs is timed again. A change that does not gain more
than the noise of its own measurement is not taken.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekd.console import Tracker
from edgekd.devices.race import Latencies, Race, ratio
from edgekd.export.quantization.candidates import Candidate, Workbench
from edgekd.export.quantization.units import Choices, Unit, prefer

_FILES_PER_RACE: Final = 9  # more would crowd each other out of the caches, and memory
_WORTH: Final = 0.01  # least gain that is taken for one, besides the noise
_NOISE: Final = 2.0  # standard errors
_STRETCHES: Final = (2, 4, 8)  # a network is cut into that many pieces
_MOST_PASSES: Final = 6
_CHEAP: Final = frozenset(
    {
        "ADD", "MUL", "AVERAGE_POOL_2D", "CONCATENATION", "MEAN", "LOGISTIC",
        "Add", "Mul", "AveragePool", "GlobalAveragePool", "Concat", "Sigmoid", "HardSwish",
        "HardSigmoid",
    }
)  # fmt: skip
"""Kinds that usually keep up in int8: only a place to start from."""
PASSES: Final = 1 + _MOST_PASSES + len(_STRETCHES)
"""At most so many times a search advances its progress."""
_DB_PER_TENFOLD: Final = 10.0  # one dB short of the budget weighs as much as 26 % of time


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a search must keep to.

    Attributes:
        min_sqnr_db: Least signal to noise of the answers against fp32.
        seconds: After which no further pass is begun.
        num_threads: That compute.
        race_seconds: For which each file is timed in a race.
    """

    min_sqnr_db: float
    seconds: float
    num_threads: int
    race_seconds: float = 0.3


@dataclass(frozen=True, kw_only=True)
class Found:
    """The candidate that won.

    Attributes:
        speedup: fp32 time over its time in the last race.
        fallback: Why it was taken although nothing recommended it.
    """

    candidate: Candidate
    speedup: float
    fallback: str | None


class Search:
    """One search.

    Args:
        bench: Makes candidates.
        fp32: The file that all must beat.
        race: Times files on the device that is aimed at.
        budget: Error and time.
        accept: Judges a candidate on the task, for example on validation data.
        progress: Advanced once per pass.
    """

    def __init__(
        self,
        bench: Workbench,
        fp32: Path,
        *,
        race: Race,
        budget: Budget,
        accept: Callable[[Path], bool],
        progress: Tracker,
    ) -> None:
        self._bench, self._fp32, self._race = bench, fp32, race
        self._budget, self._accept, self._progress = budget, accept, progress
        self._units = bench.quantizer.units
        self._end = time.monotonic() + budget.seconds
        self._winners: list[Candidate] = []

    def run(self) -> Found:
        """Search until nothing helps or the time is up, then race the best ones to the end."""
        starts = [self._bench.make(c, label) for label, c in starting_points(self._units)]
        best = self._fastest(starts)
        for _ in range(_MOST_PASSES):
            better = self._pass(best, by_kind(self._units))
            if better is best:
                break
            best = better
        for pieces in _STRETCHES:
            best = self._pass(best, by_stretch(self._units, pieces))
        return self._finish()

    # -- one pass --------------------------------------------------------------------------------

    def _pass(self, best: Candidate, groups: Sequence[tuple[str, Sequence[Unit]]]) -> Candidate:
        """The best of ``best`` and what changing groups of it makes."""
        changes: list[Candidate] = []
        for label, choices in _changes(best.choices, groups):
            if time.monotonic() > self._end:
                break
            changes.append(self._bench.make(choices, label))
        gains = [(gain, c) for c, gain in self._gains(best, changes) if gain > 0]
        gains.sort(key=lambda item: -item[0])
        if not gains:
            return best
        together = [gains[0][1]]
        choices = dict(gains[0][1].choices)
        for _, change in gains[1:]:
            moved = {k: v for k, v in change.choices.items() if v != best.choices[k]}
            choices = {**choices, **moved}
            together.append(self._bench.make(choices, f"{together[-1].label}, {change.label}"))
        return self._fastest([best, *together])

    def _gains(
        self, best: Candidate, changes: Sequence[Candidate]
    ) -> Iterator[tuple[Candidate, float]]:
        """By how much each change lowers the cost beyond noise; not positive where it does not."""
        usable = [c for c in changes if c.path is not None and c is not best]
        for start in range(0, len(usable), _FILES_PER_RACE):
            if time.monotonic() > self._end:
                return
            group = usable[start : start + _FILES_PER_RACE]
            times = self._times([best, *group])
            reference = times[0]
            if reference is None:
                return
            for candidate, found in zip(group, times[1:], strict=True):
                if found is not None:
                    slower, error = ratio(found, reference)
                    allowed = slower + max(_WORTH, _NOISE * error)
                    gain = self._penalty(best) - allowed * self._penalty(candidate)
                    yield candidate, gain

    def _fastest(self, candidates: Sequence[Candidate]) -> Candidate:
        """The one of least cost; the first stays where no other gains more than noise."""
        unique = list({id(c): c for c in candidates if c.path is not None}.values())
        if not unique:
            raise ValueError("no candidate can be run")
        best = unique[0]
        gains = [(gain, candidate) for candidate, gain in self._gains(best, unique[1:])]
        winner = max(gains, key=lambda item: item[0], default=None)
        self._progress.advance()
        self._winners.append(best if winner is None or winner[0] <= 0 else winner[1])
        return self._winners[-1]

    def _penalty(self, candidate: Candidate) -> float:
        short = max(0.0, self._budget.min_sqnr_db - candidate.sqnr_db)
        return float(10 ** (min(short, 300.0) / _DB_PER_TENFOLD))

    def _times(self, candidates: Sequence[Candidate]) -> tuple[Latencies | None, ...]:
        return self._timed([c.path for c in candidates if c.path is not None])

    def _timed(self, files: Sequence[Path]) -> tuple[Latencies | None, ...]:
        return self._race(
            files, num_threads=self._budget.num_threads, seconds=self._budget.race_seconds
        )

    # -- the end ---------------------------------------------------------------------------------

    def _finish(self) -> Found:
        """Race what won a pass against fp32, then everything else; the fastest accepted is it."""
        within = [
            c for c in self._bench.made
            if c.path is not None and c.sqnr_db >= self._budget.min_sqnr_db
        ]  # fmt: skip
        stored = self._stored_only()
        winners = [c for c in dict.fromkeys(reversed(self._winners)) if c in within]
        others = [c for c in reversed(within) if c not in winners]
        for group in (winners[:_FILES_PER_RACE], others[:_FILES_PER_RACE]):
            ranked = self._against_fp32([c for c in group if c is not stored])
            for candidate, speedup, error in sorted(ranked, key=lambda item: -item[1]):
                faster = speedup - _NOISE * error > 1.0
                if faster and candidate.path is not None and self._accept(candidate.path):
                    return Found(candidate=candidate, speedup=speedup, fallback=None)
        reason = "nothing within the error budget was measured to be faster than fp32"
        return Found(candidate=stored, speedup=self._speedup(stored), fallback=reason)

    def _stored_only(self) -> Candidate:
        """Float arithmetic on weights stored in 8 bits: no faster, and hardly any error."""
        return self._bench.make(prefer(self._units), "weights in 8 bits")

    def _against_fp32(
        self, candidates: Sequence[Candidate]
    ) -> list[tuple[Candidate, float, float]]:
        times = self._timed([self._fp32, *(c.path for c in candidates if c.path is not None)])
        fp32 = times[0]
        found = []
        for candidate, own in zip(candidates, times[1:], strict=True):
            if fp32 is not None and own is not None:
                speedup, error = ratio(fp32, own)
                found.append((candidate, speedup, error))
        return found

    def _speedup(self, candidate: Candidate) -> float:
        found = self._against_fp32([candidate])
        return found[0][1] if found else 0.0


def starting_points(units: Sequence[Unit]) -> list[tuple[str, Choices]]:
    """What tool chains and habit suggest; the safest first."""
    cheap = {unit.name for unit in units if unit.is_product or unit.kind.split()[0] in _CHEAP}
    stored = prefer(units)
    static = prefer(units, "static")
    return [
        ("weights in 8 bits", stored),
        ("all static", static),
        ("products static", prefer(units, "static", products_only=True)),
        ("products and sums static", {**stored, **{name: static[name] for name in cheap}}),
        ("products dynamic", prefer(units, "dynamic", products_only=True)),
        ("products dynamic or static", prefer(units, "dynamic", "static", products_only=True)),
    ]


def by_kind(units: Sequence[Unit]) -> list[tuple[str, Sequence[Unit]]]:
    """All units of each kind, with a label."""
    kinds = dict.fromkeys(unit.kind for unit in units)
    return [(kind, [unit for unit in units if unit.kind == kind]) for kind in kinds]


def by_stretch(units: Sequence[Unit], pieces: int) -> list[tuple[str, Sequence[Unit]]]:
    """The units cut into ``pieces`` of about equal length, in the order of execution."""
    edges = [round(i * len(units) / pieces) for i in range(pieces + 1)]
    return [
        (f"part {i + 1} of {pieces}", units[edges[i] : edges[i + 1]])
        for i in range(pieces)
        if edges[i] < edges[i + 1]
    ]


def _changes(
    choices: Choices, groups: Sequence[tuple[str, Sequence[Unit]]]
) -> Iterator[tuple[str, Choices]]:
    """Every group set to each choice that changes anything."""
    for label, units in groups:
        wanted = dict.fromkeys(choice for unit in units for choice in unit.choices)
        if {"weights", "float"} <= set(wanted):
            del wanted["weights"]  # the same step: back to float
        for choice in wanted:
            moved = {
                unit.name: choice if choice in unit.choices else unit.as_float
                for unit in units
                if choice in unit.choices or choice == "float"
            }
            if any(choices[name] != value for name, value in moved.items()):
                yield f"{label} {choice}", {**choices, **moved}
