"""What a report is before it is HTML, Markdown or terminal text: tables, figures, sentences.

Text here is as it was found; each writer escapes it for its own format.
"""

from dataclasses import dataclass

from edgekd.report.walk import Epoch


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One value and, smaller, what qualifies it."""

    text: str
    detail: str = ""
    bar: float | None = None
    """Length of a bar under the value, as a fraction of the column's largest."""
    trace: tuple[float | None, ...] = ()
    """A strip of fractions from left to right, beside or instead of the text; ``None`` is a gap."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A header with its unit; ``detail`` holds what is true of every value below it."""

    header: str
    detail: str = ""
    numeric: bool = True


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of a table."""

    cells: tuple[Cell, ...]
    depth: int = 0
    """How far down the lineage: shown as an indent of the first cell."""
    repeats: bool = False
    """The line goes on about the thing named above it."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table with the notes needed to read it."""

    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Training curves of one run, drawn where the format can hold a drawing."""

    label: str
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Verbatim lines, folded away where the format can."""

    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and what stands under it."""

    title: str
    lead: tuple[str, ...] = ()
    """Sentences before the table."""
    table: Table | None = None
    curves: tuple[Curves, ...] = ()
    listings: tuple[Listing, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    summary: tuple[str, ...]
    caveats: tuple[str, ...]
    sections: tuple[Section, ...]
    footer: str
