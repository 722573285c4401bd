"""Click's side of flags whose values are words: shown, completed, and sometimes left out."""

from collections.abc import Mapping
from typing import Any, cast

import click
from click.shell_completion import CompletionItem


class Words(click.ParamType[str]):
    """Any text; the words the recipe knows are shown in help and offered by shell completion.

    Args:
        words: Those.
    """

    name = "text"

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """``[WORD|WORD]``."""
        return f"[{'|'.join(self.words)}]"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The words that begin with what was typed."""
        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]


class BareOption(click.Option):
    """An option whose value may be left out, so that what follows it may be the argument.

    The parser hands it the next text in any case. Where that is none of its words and the command's
    argument is missing, the text was meant to be that argument: ``export --int8 runs/student``.
    """

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """As click does, after giving the argument back what is its own."""
        text = opts.get(self.name)
        argument = next((p for p in ctx.command.params if isinstance(p, click.Argument)), None)
        stray = isinstance(text, str) and text not in self._words
        if stray and argument is not None and not isinstance(opts.get(argument.name), str):
            opts = cast(dict[str, Any], opts)  # the parser's own, which the argument reads next
            opts[argument.name], opts[self.name] = text, self.flag_value
        return super().handle_parse_result(ctx, opts, args)

    @property
    def _words(self) -> tuple[str, ...]:
        return self.type.words if isinstance(self.type, Words) else ()
