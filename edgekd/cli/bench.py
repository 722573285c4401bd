"""``edgekd bench``: measure exported files on a device."""

from pathlib import Path
from typing import Any, Final

import click

from edgekd.cli.cells import milliseconds, percent, size
from edgekd.cli.data_flags import DATA_FLAGS
from edgekd.cli.options import Flag, example, takes_recipe, takes_terminal
from edgekd.cli.terminal import Sheet, Terminal
from edgekd.config import BenchRecipe

_FLAGS: Final = (
    Flag("device", ("--device",), "Where to measure."),
    Flag("num_threads", ("--threads",), "Threads of every runtime; repeatable."),
    Flag("num_calls", ("--calls",), "Least number of timed calls; the 99th percentile needs 100."),
    Flag("num_warmup", ("--warmup",), "Calls before the clock counts."),
    Flag("min_seconds", ("--min-seconds",), "Least time over which calls are timed."),
    Flag("metric_split", ("--metric-split",), "Split on which the metric is measured."),
    Flag("baseline", ("--baseline",), "Add a row for torch on the bundle; needs the train extra."),
    *DATA_FLAGS,
)


@click.command("bench", epilog=example("edgekd bench runs/exported --data signs.zip --threads 1"))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@takes_recipe(BenchRecipe, _FLAGS)
@takes_terminal
def command(*, recipe: BenchRecipe, terminal: Terminal, paths: tuple[Path, ...]) -> None:
    """Measure the exported files at PATHS; a folder means every file in it.

    Each file runs in a fresh process. Without --data everything but the metric is measured.
    """
    from edgekd.bench.run import bench, rows

    measurements = bench(paths, recipe, terminal)
    data = rows(measurements)
    terminal.show(data, _sheet(data))


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
                milliseconds(row["p50_ms"]),
                milliseconds(row["p90_ms"]),
                milliseconds(row["p99_ms"]),
                milliseconds(row["cold_start_ms"]),
                size(row["peak_rss_bytes"]),
                size(row["size_bytes"]),
                _metric(row["metric"]),
            )
            for row in rows
        ),
    )  # fmt: skip


def _metric(metric: dict[str, Any] | None) -> str:
    if metric is None:
        return ""
    return f"{percent(metric['value'])} {metric['name']}, {metric['num_samples']} {metric['split']}"
