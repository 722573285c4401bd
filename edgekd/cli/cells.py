"""Numbers as people read them in a table: records keep fractions and base units, cells do not."""


def percent(fraction: float | None) -> str:
    """A fraction in per cent; nothing for ``None``.

    >>> percent(0.9125), percent(None)
    ('91.25 %', '')
    """
    return "" if fraction is None else f"{100 * fraction:.2f} %"


def count(number: int) -> str:
    """A large number with a decimal prefix and three digits.

    >>> [count(n) for n in (999, 78_042, 12_500_000, 1_820_000_000)]
    ['999', '78.0 k', '12.5 M', '1.82 G']
    """
    return _scaled(float(number), ("", " k", " M", " G", " T"))


def size(number: int) -> str:
    """A number of bytes in decimal units.

    >>> [size(n) for n in (12, 345_678)]
    ['12 B', '346 kB']
    """
    return _scaled(float(number), (" B", " kB", " MB", " GB", " TB"))


def milliseconds(value: float | None) -> str:
    """A time in ms with three digits; nothing for ``None``.

    >>> [milliseconds(v) for v in (0.0423, 1.5, 1234.5, None)]
    ['0.0423', '1.50', '1234', '']
    """
    if value is None:
        return ""
    return f"{value:.3g}" if value < 1 else _three_digits(value)


def duration(seconds: float) -> str:
    """A duration as people say it.

    >>> [duration(s) for s in (0.4, 59.6, 125, 7260)]
    ['0 s', '1 min 00 s', '2 min 05 s', '2 h 01 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    for unit in units[:-1]:
        if value < 999.5:
            return f"{value:.0f}{unit}" if unit == units[0] else f"{_three_digits(value)}{unit}"
        value /= 1000
    return f"{_three_digits(value)}{units[-1]}"


def _three_digits(value: float) -> str:
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"
