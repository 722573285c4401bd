"""Int8 files that were written, timed and judged, and what is known about each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import BundleError, EdgekdError
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.recipe import Range
from edgekd.export.quantization.units import Choices, Unit
from edgekd.export.quiet import quiet_stderr
from edgekd.runtimes.session import open_session

Arrays = Mapping[str, NDArray[Any]]

_EQUAL_DB: Final = 200.0  # what an answer without any error counts as
_ERROR_SAMPLES: Final = 24


class Quantizer(Protocol):
    """Writes int8 forms of one fp32 file."""

    @property
    def format(self) -> str:
        """``onnx`` or ``tflite``."""

    @property
    def units(self) -> tuple[Unit, ...]:
        """What can be decided, in the order of execution."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about its files."""

    @property
    def calibration_batch(self) -> int:
        """Samples whose values reach a collector together."""

    def calibrate(self, feeds: Arrays, collector: RangeCollector) -> None:
        """Show every activation of every sample to a collector."""

    def write(self, choices: Choices, ranges: Mapping[str, Range], path: Path) -> None:
        """Write the int8 file that computes as ``choices`` say."""

    def versions(self) -> dict[str, str]:
        """Of what runs the files and of what writes them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidate:
    """One int8 file.

    Attributes:
        label: Why it was tried, for people.
        path: ``None`` where it could not be written.
        fault: Why it could not.
    """

    label: str
    choices: Choices
    path: Path | None
    fault: str | None = None


@dataclass(kw_only=True, eq=False)
class Workbench:
    """Writes candidates, each once, and measures their error.

    Attributes:
        quantizer: Of the fp32 file.
        ranges: Of its activations.
        feeds: Samples on which errors are measured, in the file's own encoding.
        answers: ``(n, ...)`` of the fp32 file on them.
        batch: Samples per call that the files take.
        folder: Where candidates are written.
        clock: Of the whole search that this is part of.
    """

    quantizer: Quantizer
    ranges: Mapping[str, Range]
    feeds: Arrays
    answers: NDArray[Any]
    batch: int
    folder: Path
    clock: Clock = field(default_factory=Clock)
    _made: dict[tuple[str, ...], Candidate] = field(default_factory=dict)
    _errors: dict[Candidate, float] = field(default_factory=dict)

    @property
    def made(self) -> tuple[Candidate, ...]:
        """Everything that was tried, in that order."""
        return tuple(self._made.values())

    def make(self, choices: Choices, label: str) -> Candidate:
        """The candidate of these choices; one that a tool chain cannot write has no path."""
        key = tuple(choices[unit.name] for unit in self.quantizer.units)
        if key not in self._made:
            path: Path | None
            path = self.folder / f"candidate{len(self._made)}.{self.quantizer.format}"
            fault = None
            try:
                self.quantizer.write(choices, self.ranges, path)
            except EdgekdError as error:  # some mixtures are beyond a tool chain: not this one
                path, fault = None, str(error).partition("\n")[0]
            self._made[key] = Candidate(label=label, choices=dict(choices), path=path, fault=fault)
        return self._made[key]

    def is_measured(self, candidate: Candidate) -> bool:
        """Whether its error is known already."""
        return candidate in self._errors

    def sqnr_db(self, candidate: Candidate) -> float:
        """Of a candidate's answers against the fp32 file's; measured when first asked for."""
        if candidate not in self._errors:
            try:
                if candidate.path is None:
                    raise BundleError("never written")
                found = answers(candidate.path, self.feeds, batch=self.batch)
                self._errors[candidate] = signal_to_noise(self.answers, found)
            except BundleError:
                self._errors[candidate] = -_EQUAL_DB
        return self._errors[candidate]


def error_rows(rows: int) -> NDArray[Any]:
    """Which of so many calibration samples errors are measured on: spread over all.

    >>> error_rows(3).tolist(), len(error_rows(256))
    ([0, 1, 2], 24)
    """
    return _spread(rows, _ERROR_SAMPLES)


def some_rows(feeds: Arrays, most: int) -> Arrays:
    """So many samples, spread over all; ``feeds`` itself where it holds no more."""
    rows = len(next(iter(feeds.values())))
    return feeds if rows <= most else rows_of(feeds, _spread(rows, most))


def rows_of(feeds: Arrays, picks: NDArray[Any]) -> Arrays:
    """The picked samples of every input, in plain memory order."""
    return {name: np.ascontiguousarray(values[picks]) for name, values in feeds.items()}


def _spread(rows: int, most: int) -> NDArray[Any]:
    return np.unique(np.linspace(0, rows - 1, min(rows, most)).round().astype(int))


def answers(path: Path, feeds: Arrays, *, batch: int) -> NDArray[np.float32]:
    """The first output of a file on all samples.

    Raises:
        BundleError: If its runtime cannot load or run it.
    """
    with quiet_stderr():  # LiteRT announces its delegate from C++
        session = open_session(path, num_threads=1)
    rows = len(next(iter(feeds.values())))
    parts = []
    for start in range(0, rows, batch):
        outputs = session.invoke({k: v[start : start + batch] for k, v in feeds.items()})
        parts.append(session.decode(outputs))
    return np.concatenate(parts)


def signal_to_noise(source: NDArray[Any], found: NDArray[Any]) -> float:
    """SQNR in dB, within +-200; NaN or infinity in ``found`` is the worst there is.

    >>> signal_to_noise(np.float32([[3, 4]]), np.float32([[3, 4.5]]))
    20.0
    """
    if not np.isfinite(found).all():
        return -_EQUAL_DB
    noise = float(np.square(source.astype(np.float64) - found).sum())
    signal = float(np.square(source.astype(np.float64)).sum())
    if noise == 0:
        return _EQUAL_DB
    return float(np.clip(10 * np.log10(max(signal, 1e-30) / noise), -_EQUAL_DB, _EQUAL_DB))
