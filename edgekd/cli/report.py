"""``edgekd report``: tables and curves from the records of runs."""

from pathlib import Path

import click

from edgekd.cli.options import example, takes_terminal
from edgekd.cli.terminal import Sheet, Terminal


@click.command("report", epilog=example("edgekd report runs -o report.html"))
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The report; its ending chooses the kind: .html or .md.",
)
@takes_terminal
def command(*, terminal: Terminal, runs: tuple[Path, ...], output: Path) -> None:
    """Write a report of everything recorded under RUNS: one file that opens offline."""
    from edgekd.report.run import report, terminal_tables

    written = str(report(runs, output, terminal))
    tables = [
        Sheet(title, tuple(headers), tuple(tuple(row) for row in rows))
        for title, headers, rows in terminal_tables(runs)
    ]
    terminal.show({"output": written}, *tables, Sheet("", ("report",), ((written,),)))
