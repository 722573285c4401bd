"""A document as Markdown: the same tables and sentences; strips are text, curves are left out."""

import re
from collections.abc import Iterator
from typing import Final

from edgekd.report.document import Cell, Document, Listing, Section, Table
from edgekd.report.tables import indented
from edgekd.report.traces import strip_text
from edgekd.report.units import clean, verbatim

# What could open a tag, a link, a heading, emphasis, a table cell, a formula or a mention.
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|!~$&@^])")
_LINK: Final = re.compile(r"(?i)(:)(?=//)|(?<=www)(\.)")
_MARKER: Final = re.compile(r"^(\d*)(?:([-+=])|([.)])(?=\s|$))")
"""What could open a list, or underline a heading, at the start of a line."""


def render_markdown(document: Document) -> str:
    """The report as GitHub-flavoured Markdown; every text from a record is escaped."""
    return "\n".join(_lines(document)).rstrip() + "\n"


def escape(text: str) -> str:
    r"""Text that Markdown shows as it is: no markup, no link, no table cell, no new line.

    >>> escape("<b>a|b</b> *c*")
    '\\<b\\>a\\|b\\</b\\> \\*c\\*'
    """
    escaped = _SPECIAL.sub(r"\\\1", clean(text))
    escaped = _LINK.sub(lambda match: "\\" + match.group(0), escaped)
    return _MARKER.sub(r"\1\\\2\3", escaped)


def _lines(document: Document) -> Iterator[str]:
    yield from (f"# {escape(document.title)}", "")
    if document.subtitle:
        yield from (escape(document.subtitle), "")
    for sentence in document.summary:
        yield from (escape(sentence), "")
    if document.caveats:
        yield from ("**Read with care**", "")
        yield from (f"- {escape(sentence)}" for sentence in document.caveats)
        yield ""
    for section in document.sections:
        yield from _section(section)
    yield from ("---", "", escape(document.footer))


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {escape(section.title)}", "")
    for sentence in section.lead:
        yield from (escape(sentence), "")
    if section.table is not None:
        yield from _table(section.table)
    for listing in section.listings:
        yield from _listing(listing)


def _table(table: Table) -> Iterator[str]:
    heads = [_cell(column.header, column.detail) for column in table.columns]
    rules = ["---:" if column.numeric else ":---" for column in table.columns]
    yield from (_row(heads), _row(rules))
    for line in table.lines:
        cells = [_body_cell(cell) for cell in line.cells]
        yield _row([indented(cells[0], line.depth), *cells[1:]])
    yield ""
    for note in table.notes:
        yield from (escape(note), "")


def _cell(text: str, detail: str) -> str:
    return f"{escape(text)} ({escape(detail)})" if detail else escape(text)


def _body_cell(cell: Cell) -> str:
    return " ".join(filter(None, (_cell(cell.text, cell.detail), strip_text(cell.trace))))


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _listing(listing: Listing) -> Iterator[str]:
    longest = max((len(run) for line in listing.lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    yield from (escape(listing.label), "", fence)
    yield from (verbatim(line) for line in listing.lines)
    yield from (fence, "")
