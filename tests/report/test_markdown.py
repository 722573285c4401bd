import re

import pytest
from markdown_it import MarkdownIt

from edgekd.report.document import Cell, Column, Document, Line, Listing, Section, Table
from edgekd.report.markdown import escape, render_markdown


def _document(text):
    cell = Cell(text=text, detail=text)
    table = Table(
        columns=(Column(header=text, detail=text, numeric=False), Column(header="x")),
        lines=(Line(cells=(cell, cell)), Line(cells=(cell, cell), depth=2)),
        notes=(text,),
    )
    section = Section(
        title=text, lead=(text,), table=table, listings=(Listing(label=text, lines=(text, text)),)
    )
    return Document(
        title=text,
        subtitle=text,
        summary=(text,),
        caveats=(text,),
        sections=(section,),
        footer=text,
    )


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a | b",
        "[x](javascript:alert(1))",
        "![x](y)",
        "**bold** _it_ `code` ~~gone~~",
        "# title",
        "- item",
        "+ item",
        "1. item",
        "1) item",
        "=====",
        "-----",
        "> quote",
        "```",
        "see https://example.org/x and www.example.org",
        "me@example.org",
        "&lt;b&gt;",
        "line\nbreak\n\n# title",
        "ends in a backslash \\",
        "a\\|b",
        "$x^2$",
        "[ref]: /url",
    ],
)
def test_hostile_text_reads_as_it_was(text):
    """Rendered by an independent CommonMark parser, nothing but our own structure comes out."""
    renderer = MarkdownIt("gfm-like", {"linkify": False})
    tokens = [
        token
        for block in renderer.parse(render_markdown(_document(text)))
        for token in (block, *(block.children or ()))
    ]
    kinds = [token.type for token in tokens]
    assert not {"html_inline", "html_block", "link_open", "image", "em_open", "s_open"} & set(kinds)
    assert not {"code_inline", "blockquote_open", "ordered_list_open", "lheading_open"} & set(kinds)
    assert kinds.count("heading_open") == 2
    assert kinds.count("bullet_list_open") == 1  # the caveats
    assert kinds.count("strong_open") == 1  # "Read with care"
    assert kinds.count("fence") == 1
    assert (kinds.count("tr_open"), kinds.count("td_open")) == (3, 4)
    shown = ["".join(c.content for c in t.children) for t in tokens if t.type == "inline"]
    flat = re.sub(r"\s+", " ", text)
    assert flat in shown
    assert f"{flat} ({flat})" in shown


@pytest.mark.parametrize("text", ["https://example.org", "www.example.org", "me@example.org"])
def test_nothing_becomes_a_link_by_itself(text):
    """What GitHub turns into a link without any markup no longer looks like one."""
    assert not re.search(r"https?://|www\.|[^\\]@", escape(text))


@pytest.mark.parametrize("text", ["95.50", "1,713", "0.100", "1.5e-6", "0.21 ms"])
def test_numbers_stay_readable(text):
    assert escape(text) == text


def test_a_fence_is_longer_than_any_in_its_lines():
    listing = Listing(label="l", lines=('  "a": "````"', "```"))
    section = Section(title="s", listings=(listing,))
    document = Document(
        title="t", subtitle="", summary=(), caveats=(), sections=(section,), footer="f"
    )  # fmt: skip
    text = render_markdown(document)
    assert text.count("`````\n") == 2
    assert '  "a": "````"\n' in text


def test_the_same_document_gives_the_same_table_as_the_page():
    text = render_markdown(_document("x"))
    assert "| x (x) | x |\n| :--- | ---: |\n| x (x) | x (x) |\n" in text
    indent = "\N{NO-BREAK SPACE}" * 2
    assert f"| {indent}└ x (x) | x (x) |" in text
