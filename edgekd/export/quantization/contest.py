"""Candidates timed against each other, and what each one gains within the error budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekd.devices.race import Latencies, Race, ratio
from edgekd.export.quantization.candidates import Candidate, Workbench
from edgekd.export.quantization.target import FILES_PER_RACE

NOISE: Final = 2.0  # standard errors

_WORTH: Final = 0.01  # least gain that is taken for one, besides the noise
_DB_PER_TENFOLD: Final = 10.0  # one dB short of the budget weighs as much as 26 % of time

Timed = dict[Candidate, tuple[float, float]]
"""Candidate to its time over another's, and the standard error of that."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a search must keep to, besides the clock of its workbench.

    Attributes:
        min_sqnr_db: Least signal to noise of the answers against fp32.
        num_threads: That compute.
        race_seconds: For which each file is timed in a race.
        files_per_race: That are timed together with the one they are compared with.
        reserved_bytes: Of a file, for what is put into it after the search.
        share: Of the clock's time, after which nothing new is tried; what is left is for the last
            race, for judging on the task, and for measuring layers.
    """

    min_sqnr_db: float
    num_threads: int
    race_seconds: float = 0.25
    files_per_race: int = FILES_PER_RACE
    reserved_bytes: int = 0
    share: float = 0.8


class Contest:
    """Races, and what they say.

    Args:
        bench: Made the candidates.
        race: Times files on the device that is aimed at.
        budget: Error and time.
    """

    def __init__(self, bench: Workbench, race: Race, budget: Budget) -> None:
        self._bench, self._race, self._budget = bench, race, budget

    def is_late(self) -> bool:
        """Whether nothing new should be tried."""
        return self._bench.clock.is_past(self._budget.share)

    def slowdowns(self, reference: Candidate, others: Sequence[Candidate]) -> Timed:
        """Times over the reference's, which has a file, of all that can run."""
        usable = [c for c in others if c.path is not None and c is not reference]
        found: Timed = {}
        most = self._budget.files_per_race
        for start in range(0, len(usable), most):
            if start and self.is_late():
                break
            group = usable[start : start + most]
            files = [c.path for c in (reference, *group) if c.path is not None]
            base, *times = self._timed(files)
            for candidate, own in zip(group, times, strict=True):
                if own is not None and base is not None:
                    found[candidate] = ratio(own, base)
        return found

    def gains(self, best: Candidate, timed: Timed) -> dict[Candidate, float]:
        """By how much each lowers the cost beyond noise; errors are asked for only where due.

        When time is up, errors that nobody has measured yet stay unknown, and nothing is gained.
        """
        own = self.penalty(best)
        found = {}
        for candidate, (slower, error) in timed.items():
            cost = slower + max(_WORTH, NOISE * error)
            if cost >= own:
                found[candidate] = own - cost
            elif self._bench.is_measured(candidate) or not self.is_late():
                found[candidate] = own - cost * self.penalty(candidate)
        return found

    def penalty(self, candidate: Candidate) -> float:
        """What its time is multiplied with for the error that exceeds the budget; at least 1."""
        short = max(0.0, self._budget.min_sqnr_db - self._bench.sqnr_db(candidate))
        return float(10 ** (min(short, 300.0) / _DB_PER_TENFOLD))

    def against(
        self, fp32: Path, candidates: Sequence[Candidate]
    ) -> list[tuple[Candidate, float, float]]:
        """``(candidate, speed-up over a file, its error)`` of all that run, fastest first."""
        written = {c: c.path for c in candidates if c.path is not None}
        if not written:
            return []
        base, *times = self._timed([fp32, *written.values()])
        found = []
        for candidate, own in zip(written, times, strict=True):
            if base is not None and own is not None:
                found.append((candidate, *ratio(base, own)))
        return sorted(found, key=lambda item: -item[1])

    def _timed(self, files: Sequence[Path]) -> tuple[Latencies | None, ...]:
        return self._race(
            files, num_threads=self._budget.num_threads, seconds=self._budget.race_seconds
        )
