"""``edgekd report``: one page about everything under some folders, from the records alone.

Read from top to bottom: find and link the records, put them into a document, write the document
in the format that the output's suffix names.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from edgekd import __version__
from edgekd.atomic import write_atomically
from edgekd.console import Console
from edgekd.errors import UsageError
from edgekd.report.caveats import caveat_section, find_caveats, put_together
from edgekd.report.channels import channel_sections
from edgekd.report.collect import collect
from edgekd.report.details import detail_sections
from edgekd.report.document import Document, Section
from edgekd.report.html import render_html
from edgekd.report.lineage import Collection, Group
from edgekd.report.markdown import render_markdown
from edgekd.report.summary import summary
from edgekd.report.tables import main_table, terminal_table
from edgekd.report.units import clean

WRITERS: Final[Mapping[str, Callable[[Document], str]]] = {
    ".html": render_html,
    ".md": render_markdown,
}
"""One entry per format, by the suffix that asks for it."""


def report(roots: Sequence[Path], output: Path, console: Console) -> Path:
    """Write a report about every record under ``roots``.

    Neither weights nor data are read, and the same records give the same bytes.

    Args:
        roots: Folders (or record files) of edgekd teach, distill, export and bench, in any mix.
        output: ``.html`` for one self-contained page, ``.md`` for Markdown.
        console: Hears the caveats that are at the top of the report, one line per kind.

    Returns:
        ``output``.

    Raises:
        UsageError: If the suffix is another, a root is missing, or nothing was found.
        BundleError: If a record is damaged or of an unknown schema.
        MissingExtraError: If the packages that draw a page are not installed.
        OutputError: If ``output`` cannot be written.
    """
    writer = WRITERS.get(output.suffix.lower())
    if writer is None:
        raise UsageError(
            f"{output}: cannot write a report as {output.suffix or 'a file without suffix'!r}; "
            f"expected {' or '.join(WRITERS)}"
        )
    collection = collect(roots)
    document = compose(collection)
    for sentence in document.caveats:
        console.warn(sentence)
    write_atomically(output, writer(document).encode())
    console.info(f"wrote {output}")
    return output


def terminal_tables(roots: Sequence[Path]) -> tuple[tuple[str, list[str], list[list[str]]], ...]:
    """The main table of each data set under ``roots`` as plain text: title, headers, rows.

    Raises:
        UsageError: If a root is missing, or nothing was found.
        BundleError: If a record is damaged or of an unknown schema.
    """
    groups = collect(roots).groups
    return tuple((clean(_main_title(group, groups)), *terminal_table(group)) for group in groups)


def compose(collection: Collection) -> Document:
    """Everything a report says, before it has a format."""
    groups = collection.groups
    caveats = find_caveats(collection)
    one_by_one = caveat_section(caveats)
    return Document(
        title="edgekd report",
        subtitle="; ".join(group.source for group in groups if group.source),
        summary=tuple(paragraph for group in groups for paragraph in summary(group)),
        caveats=put_together(caveats),
        sections=(
            *(_main_section(group, groups) for group in groups),
            *channel_sections(collection.networks),
            *detail_sections(collection),
            *([one_by_one] if one_by_one is not None else ()),
        ),
        footer=f"edgekd {__version__}, from {_count(collection)} found on disk",
    )


def _main_section(group: Group, groups: Sequence[Group]) -> Section:
    fingerprint = f"Data fingerprint {group.fingerprint[:12]}." if group.fingerprint else ""
    return Section(
        title=_main_title(group, groups),
        lead=(fingerprint,) if fingerprint and len(groups) > 1 else (),
        table=main_table(group),
    )


def _main_title(group: Group, groups: Sequence[Group]) -> str:
    several = f": {group.source or 'data unknown'}" if len(groups) > 1 else ""
    return f"Teacher, student, files{several}"


def _count(collection: Collection) -> str:
    networks = collection.networks
    files = [file for network in networks for file in network.files]
    measured = sum(
        1 + entry.num_older
        for network in networks
        for entry in (*network.torch, *(m for file in network.files for m in file.measured))
    )
    return f"{len(networks):,} network(s), {len(files):,} file(s), {measured:,} measurement(s)"
