"""Reading recipes: TOML files, ``--set`` and flags become one validated record.

Every problem is reported together, with the file, the key, the value found and what is allowed.
"""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from edgekd.config.problems import Origin, problems_of, refusal, unread_problem
from edgekd.config.section import Section
from edgekd.errors import ConfigError, UsageError

_TOML_LIMIT: Final = 1 << 20  # a recipe is a page, not a data set


def read_recipe(path: Path) -> dict[str, Any]:
    """Parse a recipe file into plain values; nothing is validated yet.

    Raises:
        ConfigError: If the file is missing, larger than 1 MiB, or not TOML.
    """
    try:
        if path.stat().st_size > _TOML_LIMIT:
            raise ConfigError(f"{path}: larger than 1 MiB; a recipe is a short TOML file")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); expected a recipe"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error}); mend the line it names") from error


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Turn ``--set key=value`` strings into a nested dictionary.

    A value is read as TOML where it is TOML (``3``, ``true``, ``[1, 2]``) and as text otherwise,
    so ``--set augment.flip=false`` and ``--set student=resnet8`` both need no quotes.

    >>> parse_assignments(["epochs=3", "kd.temperature=2.5", "student=resnet8"])
    {'epochs': 3, 'kd': {'temperature': 2.5}, 'student': 'resnet8'}

    Raises:
        ConfigError: If an assignment has no ``=`` or no key.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--set {assignment}: expected key=value, for example epochs=10")
        *parents, leaf = key.strip().split(".")
        table = values
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {assignment}: {parent} was already set to a plain value")
        table[leaf] = _toml_value(text.strip())
    return values


def to_toml(recipe: Section) -> str:
    """A recipe as the TOML text that :func:`read_recipe` reads back; ``None`` is left out.

    >>> from edgekd.config.methods import KdRecipe
    >>> print(to_toml(KdRecipe()), end="")
    temperature = 4.0
    kd_weight = 0.9
    """
    return _toml_table(recipe.model_dump(mode="json"), ())


R = TypeVar("R", bound=Section)


def build_recipe(
    kind: type[R],
    *,
    recipe: Path | None = None,
    assignments: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
) -> R:
    """Merge a recipe file with ``--set`` and flags, which win over it, and validate the whole.

    Args:
        kind: Which recipe, for example :class:`TrainRecipe`.
        recipe: A TOML file, or nothing.
        assignments: ``key=value`` strings, dotted keys reach into tables.
        flags: Values of the command line; ``None`` means the flag was not given.
        names: Dotted key of each flag to what a user types; a problem is told in these words.

    Raises:
        ConfigError: With one line per problem: where, what was found, what is allowed. Also for
            what was typed and would not be read; a file may hold such values for other runs.
        UsageError: The same, where all problems are of flags that have a name; and for what both
            a flag and an assignment set.
    """
    merged = read_recipe(recipe) if recipe is not None else {}
    typed = parse_assignments(assignments)
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    origin = Origin(
        file=recipe,
        assigned=bool(assignments),
        names=names or {},
        typed=tuple(key for key, _ in _leaves(given)),
    )
    _refuse_twice(typed, origin)
    _merge(typed, given)
    _merge(merged, typed)
    try:
        built = kind.model_validate(merged)
    except ValidationError as error:
        problems = problems_of(error, merged, origin, tuple(kind.dotted_keys()))
        raise refusal(problems, origin) from error
    _refuse_unread(built.unread(), typed, origin)
    return built


def _refuse_twice(assigned: Mapping[str, Any], origin: Origin) -> None:
    """Of two values one would win unseen."""
    for key, value in _leaves(assigned):
        if (flag := origin.names.get(key)) and key in origin.typed:
            raise UsageError(f"{flag} and --set {key}={value} set the same; give one of them")


def _refuse_unread(unread: Mapping[str, str], typed: Mapping[str, Any], origin: Origin) -> None:
    problems = []
    for key, value in _leaves(typed):
        reasons = (why for table, why in unread.items() if f"{key}.".startswith(f"{table}."))
        if reason := next(reasons, None):
            problems.append(unread_problem(key, value, reason, origin))
    if problems:
        raise refusal(problems, replace(origin, file=None))  # a file may hold what is not read


def _leaves(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _merge(base: dict[str, Any], extra: Mapping[str, Any]) -> None:
    if "model" in extra and "student" in base:  # two spellings of one key: the later one wins
        del base["student"]
    if "student" in extra and "model" in base:
        del base["model"]
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml_table(table: Mapping[str, Any], path: tuple[str, ...]) -> str:
    lines = [f"\n[{'.'.join(path)}]\n"] if path else []
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            lines.append(f"{_toml_key(key)} = {_toml_text(value)}\n")
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            lines.append(_toml_table(value, (*path, _toml_key(key))))
    return "".join(lines)


def _toml_key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "_").isidentifier()
    return key if bare else _toml_text(key)


def _toml_text(value: Any) -> str:
    # JSON's spelling of numbers, booleans, strings and arrays is TOML's too, but for DEL, which
    # TOML wants escaped; ASCII output will not do, its surrogate pairs are no TOML.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
