"""The raw results of ``run.py``: one line per file that was measured."""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from benchmarks.int8.peers import ALL_PEERS
from benchmarks.int8.tables import measured_on
from edgekd.devices.local import describe, runtime_version

RESULTS: Final = Path(__file__).parent / "results.jsonl"


def recorded(name: str, options: argparse.Namespace) -> set[tuple[str, str]]:
    """Format and kind of what was measured before, like this, here."""
    lines = [r for r in read_results() if r["architecture"] == name and is_asked(r, options)]
    return {
        (r["format"], r["kind"])
        for r in lines
        if measured_on(r) == here(r["format"])
        and not (r["kind"] in ALL_PEERS and "error" in r)  # that peer may be there now
    }


def append(line: dict[str, Any]) -> None:
    """One more line of raw results."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_results() -> list[dict[str, Any]]:
    """All lines, oldest first."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def is_asked(line: dict[str, Any], options: argparse.Namespace) -> bool:
    """Whether a line was measured in the setting that is asked for now."""
    asked = (options.size, options.threads, options.note)
    return (line["size"], line["threads"], line["note"]) == asked


def here(model_format: str) -> tuple[str, str | None]:
    """The version of the runtime that is installed, and this processor."""
    return runtime_version(model_format), describe().cpu
