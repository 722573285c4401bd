"""The ``edgekd`` command: finds the subcommand, and turns the user's faults into one line.

Nothing but click and the error tree is imported before a subcommand is chosen, so
``edgekd --help`` answers at once and without torch, pydantic, rich or NumPy.
"""

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

import click

from edgekd import __version__
from edgekd.errors import EdgekdError, InterruptedRun

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "teach": ("edgekd.cli.teach", "Train or fine-tune a network on your data: a teacher."),
    "distill": ("edgekd.cli.distill", "Train a small student, taught by a teacher."),
    "export": ("edgekd.cli.export", "Write verified ONNX and TFLite files, fp32 and int8."),
    "bench": ("edgekd.cli.bench", "Measure exported files: latency, memory, metric."),
    "devices": ("edgekd.cli.devices", "Name boards to measure on over SSH, and check them."),
    "report": ("edgekd.cli.report", "Write tables and curves from the records of runs."),
    "inspect": ("edgekd.cli.inspect", "Say what a bundle, model file or record is."),
    "doctor": ("edgekd.cli.doctor", "Say what is installed, what is missing, what to type."),
}
"""Command -> (module with a ``command`` in it, its line in ``edgekd --help``)."""

TRACEBACK_VARIABLE: Final = "EDGEKD_TRACEBACK"


class LazyGroup(click.Group):
    """A group that imports a subcommand's module only when that subcommand is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command, or ``None`` if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown name is answered with the nearest known ones."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name, COMMANDS, n=2)
            known = f"did you mean {' or '.join(near)}" if near else f"known: {', '.join(COMMANDS)}"
            raise click.UsageError(f"no command {name!r}, {known}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' lines from the table, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="'edgekd COMMAND --help' lists its flags; 'edgekd doctor' checks the installation.",
)
@click.version_option(__version__, prog_name="edgekd")
def cli() -> None:
    """Distil a small model, export it with int8, and measure it on the edge device."""


def main() -> None:
    """The installed command: run and leave with its exit code."""
    sys.exit(main_inner(sys.argv[1:]))


def main_inner(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    A user's fault becomes one line on stderr (with its traceback if ``EDGEKD_TRACEBACK=1``).
    Anything else is a bug of edgekd and leaves as the exception it is.
    """
    try:
        status = cli.main(list(arguments), prog_name="edgekd", standalone_mode=False)
    except InterruptedRun as stop:
        return _complain(str(stop), stop.exit_code)
    except EdgekdError as error:
        return _complain(f"error: {error}", error.exit_code)
    except click.ClickException as error:
        return _complain(f"error: {_one_line(error)}", error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _complain("stopped; every file that was finished is whole", InterruptedRun.exit_code)
    return status if isinstance(status, int) else 0  # click returns the code of ctx.exit()


def _complain(line: str, exit_code: int) -> int:
    if os.environ.get(TRACEBACK_VARIABLE) == "1":
        traceback.print_exc()
    click.echo(f"edgekd: {line}", err=True)
    return exit_code


def _one_line(error: click.ClickException) -> str:
    message = error.format_message().rstrip(".")
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return message
    return f"{message[:1].lower()}{message[1:]}; see '{error.ctx.command_path} --help'"


if __name__ == "__main__":
    main()
