"""What may follow the path of another tool's network: ``net.pt2#mean=0.5#std=0.25``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edgekd.errors import ModelError

Values = tuple[float, ...]

_OPTIONS: Final = ("mean", "std")


def split_options(source: str) -> tuple[str, dict[str, Values]]:
    """A source without its options, and these.

    >>> split_options("net.pt2#mean=0.5#std=0.2,0.25,0.3")
    ('net.pt2', {'mean': (0.5,), 'std': (0.2, 0.25, 0.3)})

    Raises:
        ModelError: If an option is unknown or is not numbers.
    """
    location, *texts = [source] if Path(source).exists() else source.split("#")
    options = {}
    for text in texts:
        key, _, value = text.partition("=")
        try:
            options[key] = tuple(float(part) for part in value.split(","))
        except ValueError:
            options[key] = ()
        if key not in _OPTIONS or not options[key]:
            raise ModelError(
                f"{source}: #{text} is not understood; expected #mean=0.5 or #std=0.2,0.2,0.2"
            )
    return location, options


def per_channel(
    values: Mapping[str, Values], *, channels: int, source: str
) -> tuple[Values, Values]:
    """Mean and standard deviation with one value per channel; one given value stands for all.

    Raises:
        ModelError: If there are neither one nor ``channels`` values, or a ``std`` is not above 0.
    """
    for key, given in values.items():
        finite = all(abs(value) < float("inf") for value in given)
        if len(given) not in (1, channels) or not finite or (key == "std" and min(given) <= 0):
            raise ModelError(
                f"{source}: #{key} has {given}; expected one value or {channels}, and std above 0"
            )
    mean, std = (v if len(v) == channels else v * channels for v in (values["mean"], values["std"]))
    return mean, std
