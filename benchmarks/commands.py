"""Commands, records and results that the drivers which train have in common."""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_PLACES = ("data", "source", "teacher", "weights")  # fields of records that may hold a path


def edgekd(*arguments: object) -> Any:
    """Run one command as a user types it and return its JSON."""
    command = [sys.executable, "-m", "edgekd", *map(str, arguments), "--json"]
    print("$ edgekd", *map(str, arguments), flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def bundle(folder: Path) -> dict:
    """A finished run's record."""
    return json.loads((folder / "bundle.json").read_text())


def is_finished(folder: Path) -> bool:
    """Whether a run has ended: its bundle is written last."""
    return (folder / "bundle.json").is_file()


def of_test(record: dict, name: str) -> dict:
    """The one metric of a bundle on ``test`` that has this name."""
    for metric in record["metrics"]:
        if (metric["split"], metric["name"]) == ("test", name):
            return metric
    raise SystemExit(
        f"a run has no {name} on the test split: it was made with --no-score-test, for tuning; "
        "make it again without"
    )


def test_metric(record: dict, name: str) -> float:
    """Its value."""
    return float(of_test(record, name)["value"])


def test_top1(record: dict) -> float:
    """Top-1 of a bundle on ``test``."""
    return test_metric(record, "top1")


def rows_of(results: Path) -> list[dict]:
    """All rows of a file of results; none if there is no file."""
    return (
        [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    )


def append(results: Path, key: dict, record: dict) -> None:
    """Add one row as soon as it is there; a row that is there already stays as it is.

    Of files outside the project only the names are written: results are published, and where
    somebody keeps a data set belongs to nobody else. Its fingerprint says which one it was.
    """
    if any(all(row.get(n) == value for n, value in key.items()) for row in rows_of(results)):
        return
    with results.open("a") as file:
        file.write(json.dumps(without_places({**key, **record})) + "\n")


def without_places(value: Any) -> Any:
    """A copy in which files outside the project are told by their names alone.

    >>> without_places({"data": "/home/me/signs.zip", "teacher": "runs/teacher", "epochs": 6})
    {'data': 'signs.zip', 'teacher': 'runs/teacher', 'epochs': 6}
    """
    if isinstance(value, list):
        return [without_places(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        name: Path(part).name
        if name in _PLACES and isinstance(part, str) and _is_outside(part)
        else without_places(part)
        for name, part in value.items()
    }


def _is_outside(path: str) -> bool:
    return Path(path).is_absolute() or Path(path).parts[:1] == ("..",)


def summary(values: Sequence[float]) -> str:
    """Mean and sample standard deviation of fractions, in per cent; one value has no spread."""
    mean = f"{100 * statistics.mean(values):.2f}"
    return f"{mean} ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else mean


def minutes(records: Sequence[dict]) -> float:
    """Mean training time."""
    return statistics.mean(r["provenance"]["train_seconds"] for r in records) / 60


def conditions(*records: dict) -> str:
    """What a table's figures hold for; all of it where runs differ."""
    found = []
    for record in records:
        provenance = record["provenance"]
        found.append(
            f"{provenance['num_threads']} training threads, {provenance['machine']}, "
            f"{provenance['precision']}"
        )
    return " or ".join(dict.fromkeys(found))
