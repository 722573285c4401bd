"""The search for the fastest int8 file within an error budget: measured, never guessed.

It starts from a handful of recipes that tool chains and habit suggest, keeps the best, and then
changes one group of operators at a time: all in one stretch of the network, or all of one kind.
All changes of a pass are timed against each other in one race; those that help are combined, and
what the combination really costs is timed again. A change that does not gain more than the noise
of its own measurement is not taken. Nothing new is tried after the search's share of the time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekd.console import Tracker
from edgekd.devices.race import Race
from edgekd.errors import ExportError
from edgekd.export.quantization.candidates import Candidate, Workbench
from edgekd.export.quantization.contest import NOISE, Contest, Timed
from edgekd.export.quantization.contest import Budget as Budget
from edgekd.export.quantization.moves import (
    Move,
    by_kind,
    by_noise,
    by_stretch,
    cut,
    starting_points,
)
from edgekd.export.quantization.recipe import OperatorError
from edgekd.export.quantization.sizes import candidate_bytes
from edgekd.export.quantization.storage import borne_storage, quiet_storage
from edgekd.export.quantization.units import prefer

_STRETCHES: Final = (2, 4, 8)  # a network is cut into that many pieces
_MOST_ROUNDS: Final = 3
_PALETTE: Final = 3  # recipes that stretches are coloured with
_ROOM_DB: Final = 6.0  # of the error budget, stored weights may use a quarter
_QUIETED: Final = 2  # recipes of it that are tried without their loudest stretches
_HEARD: Final = 12  # stretches whose noise is measured one by one
_FINALISTS: Final = 6
PASSES: Final = 2 + 2 * _MOST_ROUNDS * len(_STRETCHES)
"""At most so many times a search advances its progress."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The candidate that won.

    Attributes:
        speedup: fp32 time over its time in the last race.
        fallback: Why it was taken although nothing recommended it.
        sensitivity: What single stretches of the network do to the answer, worst first.
    """

    candidate: Candidate
    speedup: float
    fallback: str | None
    sensitivity: tuple[OperatorError, ...] = ()


class Search:
    """One search.

    Args:
        bench: Makes candidates; its clock limits the search.
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
        self._bench, self._fp32, self._contest = bench, fp32, Contest(bench, race, budget)
        self._budget, self._accept, self._progress = budget, accept, progress
        self._units = bench.quantizer.units
        self._stored = prefer(self._units)
        self._winners: list[Candidate] = []
        self._sensitivity: tuple[OperatorError, ...] = ()

    def run(self) -> Found:
        """Search until nothing helps or the time is up, then race the best ones to the end.

        Raises:
            ExportError: If no starting point can be written, or nothing is to be taken but the
                weights in 8 bits and these cannot be written.
        """
        self._stored = quiet_storage(self._bench, self._budget.min_sqnr_db + _ROOM_DB)
        points = starting_points(self._units, self._stored)
        starts = [self._bench.make(choices, label) for label, choices in points]
        best, palette = self._start(starts)
        if palette:
            best = self._pass(best, self._quieter(palette))
        for _ in range(_MOST_ROUNDS):
            before = best
            for pieces in _STRETCHES:
                best = self._pass(best, by_stretch(self._units, pieces, best.choices, palette))
                best = self._pass(best, by_kind(self._units, best.choices))
            if best is before or self._contest.is_late():
                break
        return self._finish()

    # -- passes ----------------------------------------------------------------------------------

    def _start(self, starts: Sequence[Candidate]) -> tuple[Candidate, list[Move]]:
        """The best start, and the recipes to colour stretches with, fastest first."""
        written = [start for start in dict.fromkeys(starts) if start.path is not None]
        if not written:
            raise ExportError(
                f"no int8 form of {self._fp32.name} can be written: {starts[0].fault}; "
                "export it without --int8"
            )
        safest, *others = written
        timed = self._contest.slowdowns(safest, others)
        best = self._fastest([safest, *others], timed)
        by_speed = sorted(timed, key=lambda candidate: timed[candidate][0])
        palette = [(c.label, c.choices) for c in (*by_speed[:_PALETTE], safest)]
        return best, palette

    def _pass(self, best: Candidate, moves: Iterable[Move]) -> Candidate:
        """The best of ``best`` and what the moves make of it, alone and together."""
        changes: list[Candidate] = []
        for label, choices in moves:
            if self._contest.is_late():
                break
            changes.append(self._bench.make(choices, label))
        gains = self._contest.gains(best, self._contest.slowdowns(best, changes))
        helpful = sorted((c for c in gains if gains[c] > 0), key=lambda c: -gains[c])
        if not helpful:
            self._progress.advance()
            return best
        unique = list(dict.fromkeys([best, *self._combined(best, helpful)]))
        return self._fastest(unique, self._contest.slowdowns(unique[0], unique[1:]))

    def _combined(self, best: Candidate, helpful: Sequence[Candidate]) -> list[Candidate]:
        """The most helpful change, and with it the second, and with both the third, and so on."""
        together, choices = [helpful[0]], dict(helpful[0].choices)
        for change in helpful[1:]:
            if self._contest.is_late():
                break
            choices |= {k: v for k, v in change.choices.items() if v != best.choices[k]}
            together.append(self._bench.make(choices, f"{together[-1].label}, {change.label}"))
        return together

    def _fastest(self, candidates: Sequence[Candidate], timed: Timed) -> Candidate:
        """The one of least cost; the first stays where no other gains more than noise."""
        gains = self._contest.gains(candidates[0], timed)
        winner = max(gains, key=lambda c: gains[c], default=candidates[0])
        best = winner if gains.get(winner, 0.0) > 0 else candidates[0]
        self._winners.append(best)
        self._progress.advance()
        return best

    def _quieter(self, palette: Sequence[Move]) -> Iterator[Move]:
        """The fastest starts without what disturbs the answer most, where they disturb too much."""
        fast = palette[0]
        changed = [u for u in self._units if fast[1][u.name] != self._stored[u.name]]
        noise: dict[tuple[str, ...], float] = {}
        errors = []
        quietest = self._bench.make(self._stored, "weights in 8 bits")
        if quietest.path is None:  # nothing to hear a stretch against
            return
        floor = 10 ** (-self._bench.sqnr_db(quietest) / 10)  # of the stored weights themselves
        for stretch in cut(changed, min(_HEARD, len(changed)) or 1):
            if self._contest.is_late():
                break
            names = tuple(unit.name for unit in stretch)
            alone = {**self._stored, **{name: fast[1][name] for name in names}}
            level = self._bench.sqnr_db(self._bench.make(alone, f"only {names[0]} to {names[-1]}"))
            noise[names] = max(0.0, 10 ** (-level / 10) - floor)
            errors.append(OperatorError(operators=names, sqnr_db=level))
        self._sensitivity = tuple(sorted(errors, key=lambda found: found.sqnr_db))
        limit = 10 ** (-self._budget.min_sqnr_db / 10) - floor
        for move in palette[:_QUIETED] if noise else ():
            made = self._bench.make(move[1], move[0])
            if self._bench.sqnr_db(made) < self._budget.min_sqnr_db:
                yield from by_noise(move, self._stored, noise, limit)

    # -- the end ---------------------------------------------------------------------------------

    def _finish(self) -> Found:
        """Race the last winners of passes against fp32; the fastest that is accepted is it.

        Each judgement answers all held-out samples: once the time is up, only one more is made.
        """
        stored = self._bench.make(self._stored, "weights in 8 bits")
        winners = [c for c in dict.fromkeys(reversed(self._winners)) if c is not stored]
        others = [
            c for c in reversed(self._bench.made)
            if c not in winners and c is not stored and c.path is not None
        ]  # fmt: skip
        most = self._budget.files_per_race
        is_last = False
        for group in (winners, others[:most]):
            if is_last:
                break
            kept = [
                c
                for c in group
                if self._is_small(c, stored) and self._bench.sqnr_db(c) >= self._budget.min_sqnr_db
            ]
            finalists = kept[: min(most, _FINALISTS)]
            for candidate, speedup, error in self._contest.against(self._fp32, finalists):
                if is_last or candidate.path is None or speedup - NOISE * error <= 1.0:
                    continue
                is_last = self._bench.clock.is_past(1.0)
                if self._accept(candidate.path):
                    return self._found(candidate, speedup, None)
        reason = "nothing within the error budget was measured to be faster than fp32"
        if is_last:
            reason += ", and --search-seconds left no time to judge more files"
        elif self._contest.is_late():
            tried = len(self._bench.made)
            reason += f" among {tried} candidates, when --search-seconds ended the search"
        if stored.path is None:
            raise ExportError(
                f"{reason}, and its weights alone cannot be stored in 8 bits: {stored.fault}; "
                "export it without --int8"
            )
        stored = borne_storage(self._bench, stored, self._accept)
        speedups = [speedup for _, speedup, _ in self._contest.against(self._fp32, [stored])]
        return self._found(stored, speedups[0] if speedups else 0.0, reason)

    def _is_small(self, candidate: Candidate, stored: Candidate) -> bool:
        if candidate.path is None:
            return False
        most = candidate_bytes(
            fp32=self._fp32.stat().st_size,
            stored=None if stored.path is None else stored.path.stat().st_size,
            reserved=self._budget.reserved_bytes,
        )
        return most is None or candidate.path.stat().st_size <= most

    def _found(self, candidate: Candidate, speedup: float, fallback: str | None) -> Found:
        return Found(
            candidate=candidate,
            speedup=speedup,
            fallback=fallback,
            sensitivity=self._sensitivity,
        )
