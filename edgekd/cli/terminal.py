"""The console of the command line: results on stdout, everything said on the way on stderr.

Progress is drawn as bars where stderr is a terminal, and as a line now and then where it is not,
with the time left once it can be told (:mod:`edgekd.cli.pace`). Colours follow ``NO_COLOR`` and
``FORCE_COLOR``, which rich obeys.
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import click
from rich import box
from rich.console import Console as RichConsole
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from edgekd.cli.cells import duration
from edgekd.cli.pace import Pace
from edgekd.console import SilentConsole, Tracker

_LINE_SECONDS: Final = 10.0  # between two lines of progress where there is no terminal
_NUMBER: Final = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?( \S{1,2})?$")  # with a short unit
_PLAIN_WIDTH: Final = 10_000  # a table in a file or pipe is never wrapped


@dataclass(frozen=True)
class Sheet:
    """A table for people: a heading per column, and cells that are already text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Terminal:
    """An :class:`edgekd.console.Console` on a terminal, a pipe or a log file.

    Of several processes that train together only the first one speaks.

    Args:
        json: Print the result as JSON; the human's table goes nowhere.
        quiet: Say nothing but results, warnings and errors.
        verbose: Begin each line with the seconds since the start, show every step of progress
            and what libraries log.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self._leads = _rank() == 0
        self._json = json
        self._quiet = quiet
        self._verbose = verbose
        self._start = time.monotonic()
        self._console = RichConsole(stderr=True)
        self._bars: Progress | None = None
        if verbose:
            logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")

    def info(self, text: str) -> None:
        """Say one line on stderr, unless quiet."""
        if not self._quiet:
            self._say(text)

    def warn(self, text: str) -> None:
        """Say one line on stderr that even ``--quiet`` does not hide."""
        self._say(f"warning: {text}", style="yellow")

    def track(self, description: str, total: int, done: int = 0) -> AbstractContextManager[Tracker]:
        """Open a bar over ``total`` steps; bars may be nested."""
        if self._quiet or not self._leads:
            return SilentConsole().track(description, total, done)
        if self._console.is_terminal:
            return self._track_with_bar(description, total, done)
        return self._track_with_lines(description, total, done)

    def show(self, data: Any, *sheets: Sheet) -> None:
        """Print a command's result on stdout: ``data`` with ``--json``, else the tables."""
        if not self._leads:
            return
        if self._json:
            print_json(data)
            return
        for sheet in sheets:
            print_sheet(sheet)

    def _say(self, text: str, style: str | None = None) -> None:
        if not self._leads:
            return
        if self._verbose:
            text = f"[{time.monotonic() - self._start:8.2f} s] {text}"
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _track_with_bar(self, description: str, total: int, done: int) -> Iterator[Tracker]:
        if self._bars is not None:  # rich draws one display at a time: join it
            bar = _Bar(self._bars, description, total, done)
            try:
                yield bar
            finally:
                bar.remove()
            return
        with _progress(self._console) as self._bars:
            try:
                yield _Bar(self._bars, description, total, done)
            finally:
                self._bars = None

    @contextmanager
    def _track_with_lines(self, description: str, total: int, done: int) -> Iterator[Tracker]:
        yield _Lines(self, description, total, done, every=0.0 if self._verbose else _LINE_SECONDS)


class _Bar:
    def __init__(self, progress: Progress, description: str, total: int, done: int) -> None:
        self._progress = progress
        self._task = progress.add_task(
            description, total=total, completed=done, note="", time_left=""
        )
        self._pace = Pace(total, done)

    def advance(self, steps: int = 1) -> None:
        left = self._pace.advance(steps, time.monotonic())
        shown = "" if left is None else f"{duration(left)} left"
        self._progress.update(self._task, advance=steps, time_left=shown)

    def describe(self, text: str) -> None:
        self._progress.update(self._task, note=text)

    def remove(self) -> None:
        self._progress.remove_task(self._task)


class _Lines:
    def __init__(
        self, terminal: Terminal, description: str, total: int, done: int, *, every: float
    ) -> None:
        self._terminal = terminal
        self._description = description
        self._total = total
        self._done = done
        self._pace = Pace(total, done)
        self._every = every
        self._last = time.monotonic()
        self._note = ""

    def advance(self, steps: int = 1) -> None:
        self._done += steps
        now = time.monotonic()
        left = self._pace.advance(steps, now)
        if now - self._last >= self._every:
            self._last = now
            self._terminal.info(self._line(left))

    def describe(self, text: str) -> None:
        self._note = text

    def _line(self, left: float | None) -> str:
        time_left = "" if left is None else f", {duration(left)} left"
        note = f", {self._note}" if self._note else ""
        return f"{self._description}: {self._done}/{self._total}{time_left}{note}"


def print_json(data: Any) -> None:
    """Print ``data`` on stdout as indented JSON; NaN and infinity are refused, not printed."""
    click.echo(json.dumps(data, indent=2, allow_nan=False))


def print_sheet(sheet: Sheet) -> None:
    """Print a table on stdout: drawn on a terminal, aligned plain text elsewhere."""
    console = RichConsole()
    plain = not console.is_terminal
    if plain:
        console = RichConsole(width=_PLAIN_WIDTH)
    table = Table(
        title=sheet.title or None,
        title_justify="left",
        box=None if plain else box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for number, column in enumerate(sheet.columns):
        right = number > 0 and _is_numeric([row[number] for row in sheet.rows])
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for row in sheet.rows:
        table.add_row(*(Text(cell) for cell in row))  # text: a cell is never markup
    with console.capture() as drawn:
        console.print(table, highlight=False)
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def _rank() -> int:
    """This process's number among those that torchrun, SLURM or Fabric started together.

    Fabric's come before SLURM's: what a task of SLURM starts inherits the task's own number.
    """
    for variable in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        if variable in os.environ:
            return int(os.environ[variable])
    return 0


def _progress(console: RichConsole) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[time_left]}  {task.fields[note]}"),
        console=console,
        transient=True,
    )


def _is_numeric(cells: Sequence[str]) -> bool:
    return any(cells) and all(_NUMBER.match(cell) for cell in cells if cell)
