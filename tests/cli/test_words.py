import click
from click.shell_completion import CompletionItem
from click.testing import CliRunner

from edgekd.cli.words import BareOption, Words


@click.command()
@click.option(
    "--mode", is_flag=False, flag_value="fast", cls=BareOption, type=Words(("fast", "full"))
)
@click.argument("source")
def command(mode: str | None, source: str) -> None:
    click.echo(f"{mode} {source}")


def said(*arguments: str) -> str:
    return CliRunner().invoke(command, arguments).output.strip()


def test_a_word_left_out_is_not_the_argument():
    assert said("--mode", "net") == "fast net"
    assert said("--mode", "full", "net") == "full net"
    assert said("net", "--mode") == "fast net"
    assert said("net") == "None net"
    # with an argument of its own the text is the value, which others judge
    assert said("net", "--mode", "magic") == "magic net"


def test_words_are_shown_and_completed():
    assert "--mode [fast|full]" in said("--help")
    found = Words(("fast", "full", "none")).shell_complete(None, None, "f")
    assert [item.value for item in found if isinstance(item, CompletionItem)] == ["fast", "full"]
