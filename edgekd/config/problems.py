"""What is wrong with a recipe, in the words of whoever wrote it: its keys, or flags as typed."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from edgekd.errors import ConfigError, UsageError

_REASONS: Final[Mapping[str, str]] = {
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "int_from_float": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "string_type": "should be text",
    "tuple_type": "should be a list",
    "missing": "has too few values",  # of a tuple: the place is within what was given
}
_TABLE_TYPES: Final = ("model_type", "model_attributes_type", "dict_type")
_PLAINER: Final = (
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
    ("greater than", "more than"),
)
_WHOLE: Final = "(recipe)"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the values of a recipe came from.

    Attributes:
        file: The recipe file, where there is one.
        assigned: Whether there were ``--set`` assignments.
        names: Dotted key of each flag to what a user types, for example ``--temperature``.
        typed: Dotted keys of the flags that were given.
    """

    file: Path | None = None
    assigned: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    typed: Collection[str] = ()

    @property
    def only_flags(self) -> bool:
        """Whether there was nothing but flags, so that all that is missing is one of them."""
        return bool(self.names) and self.file is None and not self.assigned

    def flag_of(self, place: Sequence[int | str]) -> str | None:
        """The flag that gave the value at a place, if one did."""
        keys = (_dotted(place[:depth]) for depth in range(len(place), 0, -1))
        return next((self.names[k] for k in keys if k in self.typed and k in self.names), None)


@dataclass(frozen=True)
class Problem:
    """One line, and whether the command line alone is to blame for it."""

    text: str
    of_flag: bool = False


def refusal(problems: Collection[Problem], origin: Origin) -> ConfigError | UsageError:
    """The error to raise: of usage where every problem is one of the flags."""
    texts = [problem.text for problem in problems]
    if all(problem.of_flag for problem in problems):
        return UsageError(texts[0] if len(texts) == 1 else _listed("flags", texts))
    if origin.file is None:
        return ConfigError(_listed("command line", texts))
    return ConfigError(_listed(f"{origin.file}", texts, " in the recipe"))


def problems_of(
    error: ValidationError, values: Mapping[str, Any], origin: Origin, known: Collection[str]
) -> tuple[Problem, ...]:
    """Every problem that validation found, one per value.

    Args:
        error: Of validating ``values``.
        values: As they were merged.
        origin: Of the values.
        known: Dotted keys that there are.
    """
    found: dict[str, Problem] = {}
    for item in error.errors(include_url=False):
        place = _given(item["loc"], values)
        key = _dotted(place) or _WHOLE
        if item["type"] == "extra_forbidden":
            problem = _unknown(key, item["input"], known)
        else:
            problem = _problem(item, key, origin.flag_of(place), origin)
        before = found.get(key)
        if before is not None and not isinstance(item["input"], Mapping):
            # one value, refused by each of several types
            text = f"{before.text}, or {_reason(item).removeprefix('should be ')}"
            problem = Problem(text, before.of_flag)
        found[key] = problem
    return tuple(found.values())


def unread_problem(key: str, value: Any, reason: str, origin: Origin) -> Problem:
    """A value that was typed and that nothing would look at."""
    flag = origin.flag_of(key.split("."))
    if flag is None:
        return Problem(f"{key} = {value!r}: {reason}")
    return Problem(f"{_as_typed(flag, value)}: {reason}", of_flag=True)


def _unknown(key: str, value: Any, known: Collection[str]) -> Problem:
    """A key that does not exist, with what may have been meant by it; of a table, its first key."""
    while isinstance(value, Mapping) and value:
        leaf, value = next(iter(value.items()))
        key = f"{key}.{leaf}"
    near = difflib.get_close_matches(key, known, n=1)
    advice = f"did you mean {near[0]}" if near else "--print-recipe shows all there are"
    return Problem(f"{key} = {value!r}: no such key; {advice}")


def _problem(item: ErrorDetails, key: str, flag: str | None, origin: Origin) -> Problem:
    value = item["input"]
    if flag is not None:
        return Problem(f"{_as_typed(flag, value)}: {_reason(item)}", of_flag=True)
    if item["type"] == "missing":
        name = origin.names.get(key, key)
        return Problem(f"{name}: missing; give it as a flag or in a recipe", origin.only_flags)
    if isinstance(value, Mapping):  # values that do not fit together
        said = _reason(item)
        if origin.only_flags:
            return Problem(_in_flags(said, origin.names), of_flag=True)
        return Problem(said if key == _WHOLE else f"{key}: {said}")
    return Problem(f"{key} = {value!r}: {_reason(item)}")


def _reason(item: ErrorDetails) -> str:
    """Pydantic's message in plain words."""
    if item["type"] in _REASONS:
        return _REASONS[item["type"]]
    if item["type"] in _TABLE_TYPES:
        return f"should be a table; set the keys in it, as {_dotted(item['loc'])}.KEY"
    if item["type"] == "too_long":
        limits = item.get("ctx", {})
        return f"should be {limits['max_length']} values, found {limits['actual_length']}"
    text = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    for technical, plain in _PLAINER:
        text = text.replace(technical, plain)
    return f"{text[:1].lower()}{text[1:]}"


def _in_flags(text: str, names: Mapping[str, str]) -> str:
    """A sentence with flags for the keys in it: those in backticks, and those of several words."""
    for key, flag in names.items():
        leaf = key.rpartition(".")[2]
        text = text.replace(f"`{leaf}`", flag)
        if "_" in leaf:
            text = re.sub(rf"\b{leaf}\b", flag, text)
    return text


def _as_typed(flag: str, value: Any) -> str:
    if value is True:
        return flag
    if value is False:
        return f"--no-{flag.removeprefix('--')}"
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    bare = text.isprintable() and text and " " not in text
    return f"{flag} {text if bare else repr(text)}"


def _listed(source: str, texts: Collection[str], where: str = "") -> str:
    if len(texts) == 1:
        return f"{source}: {next(iter(texts))}"
    return f"{source}: {len(texts)} problems{where}\n  " + "\n  ".join(texts)


def _dotted(place: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in place)


def _given(loc: Sequence[int | str], values: Mapping[str, Any]) -> Sequence[int | str]:
    """The part of an error's place that the user wrote; a union adds the type it tried to it."""
    found: Any = values
    for depth, part in enumerate(loc):
        if isinstance(found, Mapping):
            if part not in found:  # what is missing, or another spelling of it
                return loc
            found = found[str(part)]
        elif isinstance(found, list | tuple) and isinstance(part, int):
            found = found[part] if part < len(found) else None
        else:
            return loc[:depth]
    return loc
