"""A bench that was interrupted goes on where it stopped: what it had measured is kept beside it."""

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from edgekd.atomic import reporting_write_errors, write_atomically
from edgekd.bundle import append_record, from_json
from edgekd.config import BenchRecipe
from edgekd.errors import BundleError
from edgekd.records import Measurement

UNFINISHED_FILE: Final = "unfinished-bench.jsonl"
"""Beside the first measured file while a bench runs; gone when it is complete."""

_NOT_ASKED: Final = ("device", "num_threads", "wheels")  # do not change what a measurement is


class Unfinished:
    """What a bench of one recipe has measured so far.

    Args:
        folder: Where the file lies.
        recipe: A bench of another recipe measures other things: its file is not read.
        data_fingerprint: Of the data, where there are any.
    """

    def __init__(self, folder: Path, recipe: BenchRecipe, data_fingerprint: str | None) -> None:
        self._path = folder / UNFINISHED_FILE
        self._plan = _digest(recipe, data_fingerprint)
        self._adding = threading.Lock()
        self._found = {_key(m): m for m in self._read()}
        self._is_new = not self._found

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return self._path

    def __len__(self) -> int:
        return len(self._found)

    def find(self, model_sha256: str, file: str, device: str, threads: int) -> Measurement | None:
        """The measurement that was taken before the interruption."""
        return self._found.get((model_sha256, file, device, threads))

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement until the bench is complete.

        Raises:
            OutputError: If it cannot be written.
        """
        with self._adding:
            if self._is_new:
                write_atomically(self._path, json.dumps({"plan": self._plan}).encode() + b"\n")
                self._is_new = False
            append_record(self._path, measurement)
            self._found[_key(measurement)] = measurement

    def complete(self) -> None:
        """Nothing is left to measure.

        Raises:
            OutputError: If the file cannot be removed.
        """
        with reporting_write_errors(self._path):
            self._path.unlink(missing_ok=True)

    def _read(self) -> Iterable[Measurement]:
        try:
            first, *lines = self._path.read_bytes().splitlines()
            if json.loads(first) != {"plan": self._plan}:
                return []
            return [from_json(Measurement, line, source=str(self._path)) for line in lines]
        except (OSError, ValueError, BundleError):  # none, or of an older edgekd: measure again
            return []


def _digest(recipe: BenchRecipe, data_fingerprint: str | None) -> str:
    fields: Mapping[str, object] = recipe.model_dump(mode="json", exclude=set(_NOT_ASKED))
    return hashlib.sha256(json.dumps([fields, data_fingerprint]).encode()).hexdigest()


def _key(measurement: Measurement) -> tuple[str, str, str, int]:
    return (
        measurement.model_sha256, measurement.file, measurement.device, measurement.num_threads,
    )  # fmt: skip
