"""Layer names that fit in a table: exporters name a layer by the whole path of modules to it."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from typing import Final

MAX_NAME: Final = 60
"""Characters; a longer name is shortened."""

_ELLIPSIS: Final = "…"
_MODULE_OF_CLASS: Final = re.compile(r"(?:\w+\.)+(?=[A-Z])")  # torch.nn.modules.conv.Conv2d_0


def short_names(names: Iterable[str]) -> Mapping[str, str]:
    """A form of at most :data:`MAX_NAME` characters for each name, no two of them alike.

    Of a longer name stays the end of its path, as far as no other name has it; where it stands
    for several layers that became one (``a;;b``), of the first that differs. What still is alike
    is numbered.

    >>> names = [f"net.Net_n/blocks.Stage_{i}/{'conv.' * 9}Conv_c" for i in (1, 2)]
    >>> list(short_names(names).values())
    ['…/Stage_1/Conv_c', '…/Stage_2/Conv_c']
    """
    paths = {name: _paths(name) for name in names}
    endings = Counter(end for found in paths.values() for end in set(_endings(found)))
    short = {name: _ending(name, found, endings) for name, found in paths.items()}
    return _numbered(short)


_Path = tuple[str, ...]


def _paths(name: str) -> tuple[_Path, ...]:
    """Of each layer that it stands for, from the outermost module to the layer."""
    if len(name) <= MAX_NAME:
        return ((name,),)
    layers = (part for part in name.split(";") if not part.isdigit())
    paths = (_MODULE_OF_CLASS.sub("", layer).strip("/").split("/") for layer in layers)
    return tuple(tuple(path) for path in paths if path != [""]) or ((name,),)


def _endings(paths: tuple[_Path, ...]) -> Iterator[_Path]:
    """Of the first layer before those of the second, the shortest first."""
    yield from (path[-length:] for path in paths for length in range(1, len(path) + 1))


def _ending(name: str, paths: tuple[_Path, ...], endings: Mapping[_Path, int]) -> str:
    if len(name) <= MAX_NAME:
        return name
    alone = (end for end in _endings(paths) if endings[end] == 1)
    return _cut("/".join((_ELLIPSIS, *next(alone, paths[0]))), MAX_NAME)


def _numbered(short: Mapping[str, str]) -> dict[str, str]:
    taken = {name for name in short if len(name) <= MAX_NAME}
    found = {}
    for name, form in short.items():
        if name not in taken:
            alike = (f"{_cut(form, MAX_NAME - 8)} ({number})" for number in count(2))
            form = next(free for free in chain([form], alike) if free not in taken)
            taken.add(form)
        found[name] = form
    return found


def _cut(text: str, length: int) -> str:
    """The end of a text that is too long."""
    return text if len(text) <= length else _ELLIPSIS + text[1 - length :]
