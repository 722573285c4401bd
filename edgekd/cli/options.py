"""Flags made from recipe fields, so that flag, recipe key and default are said in one place.

A command lists its :class:`Flag` s; :func:`takes_recipe` turns them into click options, merges
recipe file, ``--set`` and flags, and hands the command one validated recipe. The flags carry text
as typed: judging it is left to the recipe, which reports every problem at once, in the words of the
flags where it came from flags.
"""

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from edgekd.bundle import RECIPE_FILE
from edgekd.cli.terminal import Terminal
from edgekd.cli.words import BareOption, Words
from edgekd.config import Section, build_recipe, to_toml
from edgekd.errors import UsageError

Decorator = Callable[[Callable[..., None]], Callable[..., None]]
R = TypeVar("R", bound=Section)

_METAVARS: Final = {int: "INTEGER", float: "NUMBER", Path: "FILE"}


@dataclass(frozen=True)
class Flag:
    """One recipe field as a command-line flag.

    Args:
        key: The field, dotted where it lies in a table: ``"kd.temperature"``.
        names: ``"--temperature"``, and a short form where there is one.
        help: What it does; the default is added from the recipe.
        required: Whether this command asks for it even where the recipe has a default.
        bare: What the flag means without a value; ``None`` where it needs one. A text behind it
            that is none of its words is the command's argument.
    """

    key: str
    names: tuple[str, ...]
    help: str
    required: bool = False
    bare: str | None = None


def takes_recipe(kind: type[R], flags: Sequence[Flag]) -> Decorator:
    """Give a command ``flags``, ``--recipe``, ``--set`` and ``--print-recipe``.

    The command is called with ``recipe``, an instance of ``kind``, in their place. A resumed run
    without ``--recipe`` takes the recipe its output folder already holds.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(
            *,
            recipe_file: Path | None,
            assignments: tuple[str, ...],
            print_recipe: bool,
            **arguments: Any,
        ) -> None:
            given = {flag.key: arguments.pop(_parameter(flag.key)) for flag in flags}
            if arguments.get("resume") and recipe_file is None:
                recipe_file = _recipe_of_run(arguments["output"])
                _require_a_run(recipe_file, arguments["output"], given, assignments)
            recipe = build_recipe(
                kind,
                recipe=recipe_file,
                assignments=assignments,
                flags=nest(given),
                names={flag.key: flag.names[0] for flag in flags},
            )
            if print_recipe:
                click.echo(to_toml(recipe), nl=False)
                return
            command(recipe=recipe, **arguments)

        decorated: Callable[..., None] = run
        resumes = "resume" in inspect.signature(command).parameters
        required = "[required without --resume]" if resumes else "[required]"
        options = [_option(kind, flag, required) for flag in flags]
        for option in reversed([*options, *_recipe_options()]):
            decorated = option(decorated)
        return decorated

    return decorate


def takes_terminal(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``--json``, ``--quiet`` and ``--verbose``; it is called with ``terminal``."""

    @functools.wraps(command)
    def run(*, json: bool, quiet: bool, verbose: bool, **arguments: Any) -> None:
        if quiet and verbose:
            raise UsageError("--quiet and --verbose contradict each other; give one of them")
        command(terminal=Terminal(json=json, quiet=quiet, verbose=verbose), **arguments)

    for option in (
        click.option("--verbose", is_flag=True, help="Say more, with the time of each line."),
        click.option("--quiet", is_flag=True, help="Say nothing but results, warnings, errors."),
        click.option("--json", is_flag=True, help="Print the result as JSON on stdout."),
    ):
        run = option(run)
    return run


def example(*lines: str) -> str:
    """An epilog for a command's help; click keeps a paragraph marked with a backspace as it is."""
    return "\n".join(("\b", "Example:", *(f"  {line}" for line in lines)))


def nest(given: dict[str, Any]) -> dict[str, Any]:
    """Dotted keys as tables; flags that were not given are left out.

    A repeatable flag arrives as a tuple whose items may themselves be lists with commas.

    >>> nest({"epochs": "3", "lr": None, "kd.temperature": "2", "num_threads": ("1,2", "4")})
    {'epochs': '3', 'kd': {'temperature': '2'}, 'num_threads': ['1', '2', '4']}
    """
    values: dict[str, Any] = {}
    for key, value in given.items():
        if value is None or value == ():
            continue
        *parents, leaf = key.split(".")
        table = values
        for parent in parents:
            table = table.setdefault(parent, {})
        table[leaf] = ",".join(value).split(",") if isinstance(value, tuple) else value
    return values


def _recipe_options() -> list[Decorator]:
    return [
        click.option(
            "--recipe",
            "recipe_file",
            type=click.Path(path_type=Path),
            help="TOML file with any of these values; flags win over it.",
        ),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="KEY=VALUE",
            help="Any recipe field, for example augment.flip=false; repeatable.",
        ),
        click.option("--print-recipe", is_flag=True, help="Print the whole recipe and stop."),
    ]


def _option(kind: type[Section], flag: Flag, required: str) -> Decorator:
    field = _field(kind, flag.key)
    needed = flag.required or field.is_required()
    text = f"{flag.help}  {required if needed else _default(field)}".rstrip()
    scalars = _scalars(field.annotation)
    if bool in scalars:
        names = [*flag.names[:-1], f"{flag.names[-1]}/--no-{flag.names[-1].removeprefix('--')}"]
        return click.option(*names, _parameter(flag.key), default=None, help=text)
    words = tuple(str(word) for word in scalars if isinstance(word, str))
    metavar = next((_METAVARS[scalar] for scalar in scalars if scalar in _METAVARS), "TEXT")
    optional: dict[str, Any] = (
        {} if flag.bare is None else {"is_flag": False, "flag_value": flag.bare, "cls": BareOption}
    )
    return click.option(
        *flag.names,
        _parameter(flag.key),
        **optional,
        type=Words(words) if words and len(words) == len(scalars) else click.STRING,
        metavar=None if words and len(words) == len(scalars) else metavar,
        multiple=get_origin(field.annotation) is tuple,
        help=text,
    )


def _parameter(key: str) -> str:
    return key.replace(".", "__")


def _field(kind: type[BaseModel], key: str) -> FieldInfo:
    head, _, rest = key.partition(".")
    field = kind.model_fields[head]
    if not rest:
        return field
    table: Any = field.annotation
    return _field(table, rest)


def _scalars(annotation: Any) -> tuple[Any, ...]:
    """The plain types and literal words an annotation is made of, without ``None``."""
    origin = get_origin(annotation)
    if origin is Literal:
        return get_args(annotation)
    if origin in (Union, types.UnionType, tuple):
        return tuple(dict.fromkeys(s for part in get_args(annotation) for s in _scalars(part)))
    if origin is not None:  # Annotated[int, ...]
        return _scalars(get_args(annotation)[0])
    return () if annotation in (type(None), ...) else (annotation,)


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if default is None:
        return ""
    if isinstance(default, bool):
        default = "on" if default else "off"
    if isinstance(default, tuple):
        default = ",".join(str(item) for item in default)
    return f"[default: {default}]"


def _require_a_run(
    recipe: Path | None, output: Path, given: dict[str, Any], assignments: Sequence[str]
) -> None:
    """Going on with a run needs one; flags that say all of it start it."""
    if recipe is None and given["data"] is None and not assignments:
        raise UsageError(
            f"{output}: holds no run to resume; check the name, or give --data and the other "
            "flags to start one there"
        )


def _recipe_of_run(output: Path) -> Path | None:
    path = output / RECIPE_FILE
    return path if path.is_file() else None
