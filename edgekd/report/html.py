"""A document as one HTML file: style and drawings inside, no script, nothing fetched."""

from pathlib import Path
from typing import Final

from edgekd.errors import MissingExtraError
from edgekd.report.document import Curves, Document
from edgekd.report.plots import curve_drawings
from edgekd.report.traces import strip_path
from edgekd.report.units import clean, verbatim

_TEMPLATE: Final = "page.html.jinja"


def render_html(document: Document) -> str:
    """The page; every text from a record is escaped.

    Raises:
        MissingExtraError: If jinja2, or matplotlib where there are curves, is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup, escape
    except ImportError as error:
        raise MissingExtraError("jinja2", extra="report", purpose="write HTML reports") from error

    def draw(curves: Curves, prefix: str) -> list[tuple[str, Markup]]:
        drawings = curve_drawings(curves, prefix=prefix)
        return [(caption, Markup(svg)) for caption, svg in drawings]  # noqa: S704 - drawn by us

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    environment.filters["strip_path"] = strip_path
    environment.filters["verbatim"] = lambda line: escape(verbatim(line))  # keeps its indent
    return environment.get_template(_TEMPLATE).render(document=document, draw=draw)
