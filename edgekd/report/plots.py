"""Training curves as inline SVG that takes its colours and its font from the page around it.

No text from outside goes into a drawing: labels stand in the page, where they are escaped.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from edgekd.errors import MissingExtraError
from edgekd.report.document import Curves
from edgekd.report.walk import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours matplotlib draws with, and the style sheet's names that replace them in the SVG: so one
# drawing is legible on a light and on a dark page.
_THEMED: Final = {"#010203": "var(--ink)", "#010204": "var(--rule)", "#010205": "var(--accent)"}
_INK, _RULE, _ACCENT = _THEMED

_STYLE: Final[Any] = {  # its type names every key there is, and differs by version
    "svg.fonttype": "none",  # text stays text: small, selectable, in the page's own font
    "svg.hashsalt": "edgekd",  # the same drawing gets the same bytes
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _RULE,
    "xtick.color": _RULE,
    "ytick.color": _RULE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "font.size": 8.5,
}


def curve_drawings(curves: Curves, *, prefix: str) -> tuple[tuple[str, str], ...]:
    """Loss, validation metric, learning rate and, where the network shrank, its cost by epoch.

    What was not recorded is left out.

    Args:
        curves: One run.
        prefix: Makes the ids inside the SVGs unique in the page.

    Returns:
        Pairs of caption (plain text) and SVG element.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    val_name = next((epoch.val_name for epoch in curves.epochs if epoch.val_name), "metric")
    panels: tuple[tuple[str, Callable[[Epoch], float | None]], ...] = (
        ("train loss", lambda epoch: epoch.train_loss),
        (f"val {val_name} (%)", lambda epoch: _percent(epoch.val_value)),
        ("learning rate", lambda epoch: epoch.lr),
        ("MACs left (%)", lambda epoch: _percent(epoch.macs_share)),
        ("parameters left (%)", lambda epoch: _percent(epoch.params_share)),
    )
    drawings = []
    for index, (caption, value) in enumerate(panels):
        taken = [(e.epoch + 1, y) for e in curves.epochs if (y := value(e)) is not None]
        if taken:
            drawings.append((caption, _curve(taken, prefix=f"{prefix}-{index}")))
    return tuple(drawings)


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else 100 * fraction


def _curve(values: Sequence[tuple[int, float]], *, prefix: str) -> str:
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "matplotlib", extra="report", purpose="draw training curves"
        ) from error
    with rc_context(_STYLE):
        figure = Figure(figsize=(3.6, 1.9), layout="constrained")
        axes = figure.subplots()
        epochs, heights = zip(*values, strict=True)
        marker = "o" if len(values) == 1 else ""  # one point has no line to see
        axes.plot(epochs, heights, color=_ACCENT, linewidth=1.6, marker=marker)
        _dress(axes)
        return _themed_svg(figure, prefix=prefix)


def _dress(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=_RULE, linewidth=0.5)
    axes.set_axisbelow(True)


def _themed_svg(figure: "Figure", *, prefix: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]  # no XML prolog inside a page
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for drawn, themed in _THEMED.items():
        svg = svg.replace(drawn, themed)
    return svg
