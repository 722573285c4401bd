"""``edgekd bench``: measure exported files on a device."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from edgekd.cli.cells import milliseconds, percent, size
from edgekd.cli.data_flags import DATA_FLAGS
from edgekd.cli.options import Flag, example, takes_recipe, takes_terminal
from edgekd.cli.terminal import Sheet, Terminal
from edgekd.config import BenchRecipe

_DASH: Final = "\N{EM DASH}"
_FLAGS: Final = (
    Flag("device", ("--device",), "Where: local, or a board (see devices); repeatable."),
    Flag("num_threads", ("--threads",), "Threads of every runtime; repeatable."),
    Flag("num_calls", ("--calls",), "Least number of timed calls; the 99th percentile needs 100."),
    Flag("num_warmup", ("--warmup",), "Calls before the clock counts."),
    Flag("min_seconds", ("--min-seconds",), "Least time over which calls are timed."),
    Flag("metric_split", ("--metric-split",), "Split on which the metric is measured."),
    Flag("missing", ("--missing",), "Input that is not there: fed its mean; repeatable."),
    Flag("num_samples", ("--samples",), "Samples of the metric, drawn with a fixed seed; or all."),
    Flag("sustain_seconds", ("--sustain",), "Seconds without a pause per file, to see heat."),
    Flag("wheels", ("--wheels",), "Folder of wheels for boards, where there is no network."),
    Flag("baseline", ("--baseline",), "Add a row for torch on the bundle; needs the train extra."),
    *DATA_FLAGS,
)


@click.command("bench", epilog=example("edgekd bench runs/exported --data signs.zip --threads 1"))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@takes_recipe(BenchRecipe, _FLAGS)
@takes_terminal
def command(*, recipe: BenchRecipe, terminal: Terminal, paths: tuple[Path, ...]) -> None:
    """Measure the exported files at PATHS; a folder means every file in it.

    Each file runs in a fresh process. Without --data everything but the metric is measured; data
    are split as in training unless a flag says how.
    """
    from edgekd.bench.run import bench, rows

    measurements = bench(paths, recipe, terminal)
    data = rows(measurements)
    terminal.show(data, _sheet(data), *_extra_sheets(data))


def _sheet(rows: list[dict[str, Any]]) -> Sheet:
    return Sheet(
        "",
        (
            "file", "precision", "device", "threads", "p50 ms", "p90 ms", "p99 ms",
            "cold start ms", "memory", "size", "metric",
        ),
        tuple(
            (
                row["file"],
                row["precision"],
                row["device"],
                str(row["num_threads"]),
                *(_time(row, key) for key in ("p50_ms", "p90_ms", "p99_ms", "cold_start_ms")),
                size(row["peak_rss_bytes"]),
                size(row["size_bytes"]),
                _metric(row["metric"], row["missing"]),
            )
            for row in rows
        ),
    )  # fmt: skip


def _extra_sheets(rows: list[dict[str, Any]]) -> Iterator[Sheet]:
    """What heat and energy cost, where either was measured."""
    hot = [row for row in rows if row["sustained"] is not None]
    if hot:
        columns = ("sustained run", "device", "threads", "seconds", "first p50 ms", "last p50 ms")
        yield Sheet("", columns, tuple(_sustained(row) for row in hot))
    told = [row for row in rows if row["energy"] is not None]
    if told:
        columns = ("energy", "device", "threads", "mJ per inference", "idle W", "source")
        yield Sheet("", columns, tuple(_energy(row) for row in told))


def _sustained(row: dict[str, Any]) -> tuple[str, ...]:
    run = row["sustained"]
    times = (milliseconds(run[key] / 1e6) for key in ("first_p50_ns", "last_p50_ns"))
    return (row["file"], row["device"], str(row["num_threads"]), f"{run['seconds']:.0f}", *times)


def _energy(row: dict[str, Any]) -> tuple[str, ...]:
    energy = row["energy"]
    per_inference = milliseconds(energy["joules_per_inference"] * 1000)
    head = (row["file"], row["device"], str(row["num_threads"]), per_inference)
    return (*head, f"{energy['idle_watts']:.2f}", energy["source"])


def _time(row: dict[str, Any], key: str) -> str:
    """A dash where another processor plays the device's: its times mean nothing."""
    return _DASH if row["emulated"] else milliseconds(row[key])


def _metric(metric: dict[str, Any] | None, missing: list[str]) -> str:
    if metric is None:
        return ""
    of = f"{metric['num_samples']} {metric['split']}"
    without = f", without {' and '.join(missing)}" if missing else ""
    return f"{percent(metric['value'])} {metric['name']}, {of}{without}"
