"""Numbers as a reader wants them: three digits, one unit per column, a dash for what is unknown."""

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DASH: Final = "—"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
MINUS: Final = "\N{MINUS SIGN}"

_STEPS: Final = ("", "k", "M", "G", "T")


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What a column is shown in: ``name`` is for the header, values are divided by ``factor``."""

    name: str
    factor: float

    def show(self, value: float | None) -> str:
        """A value in this unit, without the unit's name."""
        return DASH if value is None else significant(value / self.factor)

    def show_named(self, value: float) -> str:
        """A value with the unit's name, for a sentence."""
        return f"{self.show(value)} {self.name}".rstrip()


def unit_for(values: Iterable[float | None], *, base: str = "") -> Unit:
    """The unit of a column: the largest in which its smallest value is at least 1.

    >>> unit_for([272_000, 78_000]).name, unit_for([24_100, None], base="B").name
    ('k', 'kB')
    """
    smallest = min((value for value in values if value), default=1.0)
    step = min(max(int(math.log10(max(smallest, 1)) / 3 + 1e-9), 0), len(_STEPS) - 1)
    return Unit(name=_STEPS[step] + base, factor=1000.0**step)


def significant(value: float) -> str:
    """Three significant digits, thousands separated, an exponent only below 0.0001.

    >>> [significant(v) for v in (0.21349, 12.345, 1713.2, 0)]
    ['0.213', '12.3', '1,713', '0']
    """
    if value == 0:
        return "0"
    if abs(value) < 1e-4:
        return f"{value:.2e}".replace("-", MINUS)
    decimals = max(2 - math.floor(math.log10(abs(value))), 0)
    if float(f"{abs(value):.{decimals}f}") >= 10.0 ** (3 - decimals):  # 9.996 became 10.00
        decimals = max(decimals - 1, 0)
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def percent(fraction: float | None) -> str:
    """A fraction in per cent, two decimals, without the sign for it."""
    return DASH if fraction is None else f"{fraction * 100:.2f}"


def points(fraction: float | None) -> str:
    """A difference of fractions in percentage points; a gain has a minus, none is 0.00.

    >>> points(0.0031), points(-0.0012), points(-0.000001)
    ('0.31', '−0.12', '0.00')
    """
    if fraction is None:
        return DASH
    text = f"{fraction * 100:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", MINUS)


def duration(seconds: float | None) -> str:
    """Seconds as ``42 s``, ``3 min 20 s`` or ``1 h 05 min``."""
    if seconds is None:
        return DASH
    whole = round(seconds)
    if whole < 60:
        return f"{significant(seconds)} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def clean(text: str) -> str:
    """Text from outside, safe to set on one line: no control, direction or broken characters.

    A label that reverses the text after it would make a report say something else than its data.
    """
    return _visible(" ".join(text.split()))


def verbatim(line: str) -> str:
    """Like :func:`clean` for a line whose indent means something."""
    body = line.lstrip(" ")
    return " " * (len(line) - len(body)) + clean(body)


def _visible(text: str) -> str:
    hidden = {"Cc", "Cf", "Cs"}  # control, format (direction), lone surrogates
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(char) in hidden else char
        for char in text
    )
