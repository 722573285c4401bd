"""``edgekd devices``: the boards one may measure on, and whether they will do."""

from pathlib import Path
from typing import Any

import click

from edgekd.cli.options import example, takes_terminal
from edgekd.cli.terminal import Sheet, Terminal


@click.group("devices", epilog=example("edgekd devices add rpi pi@192.168.1.20"))
def command() -> None:
    """Name the boards to measure on, over SSH."""


@command.command("add")
@click.argument("name")
@click.argument("address", metavar="USER@HOST[:PORT]")
@click.option("--ssh-config", metavar="FILE", help="Another SSH configuration than your own.")
@click.option("--identity", metavar="FILE", help="Private key; otherwise SSH chooses.")
@click.option("--python", metavar="PATH", help="Python 3.11 or newer there.  [default: python3]")
@click.option("--folder", metavar="PATH", help="Where to keep files there.  [~/.cache/edgekd]")
@takes_terminal
def add_command(
    *,
    terminal: Terminal,
    name: str,
    address: str,
    ssh_config: str | None,
    identity: str | None,
    python: str | None,
    folder: str | None,
) -> None:
    """Call a board NAME; nothing is installed on it, and nothing is asked of it yet."""
    from edgekd.devices.book import add, entry_of, user_file

    fields = {
        "ssh_config": _absolute(ssh_config),
        "identity": _absolute(identity),
        "python": python,
        "folder": folder,
    }
    add(name, entry_of(address, fields))
    terminal.info(
        f"{name} is in {user_file()}; 'edgekd devices check {name}' tells whether it can measure"
    )


@command.command("list")
@takes_terminal
def list_command(*, terminal: Terminal) -> None:
    """List the devices that --device knows, and where each one is from."""
    from edgekd.devices.book import LOCAL, known_devices

    known = sorted(known_devices().items())
    data = [{"name": LOCAL, "address": None, "from": "built in"}]
    rows = [(LOCAL, "this machine", "built in")]
    for name, (entry, origin) in known:
        data.append({"name": name, **entry.model_dump(), "from": origin})
        rows.append((name, entry.shown, origin))
    terminal.show(data, Sheet("", ("device", "address", "from"), tuple(rows)))


@command.command("remove")
@click.argument("name")
@takes_terminal
def remove_command(*, terminal: Terminal, name: str) -> None:
    """Forget a board; what edgekd keeps on it stays (see clean)."""
    from edgekd.devices.book import remove

    remove(name)
    terminal.info(f"{name} is forgotten")


@command.command("check", epilog=example("edgekd devices check rpi --install"))
@click.argument("name")
@click.option("--install", is_flag=True, help="Also send the runtimes and try them there.")
@click.option("--wheels", type=click.Path(path_type=Path), help="Install from a folder of wheels.")
@takes_terminal
def check_command(*, terminal: Terminal, name: str, install: bool, wheels: Path | None) -> None:
    """Connect to NAME and say what is there and what is missing."""
    from edgekd.devices.check import check

    findings = check(name, terminal, install=install or wheels is not None, wheels=wheels)
    terminal.show(findings.to_json(), _findings_sheet(findings))
    findings.complain()


@command.command(
    "emulate",
    epilog=example(
        "edgekd devices emulate arm",
        "edgekd bench runs/exported --device arm --data signs.zip",
        "edgekd devices emulate arm --stop",
    ),
)
@click.argument("name")
@click.option(
    "--at",
    type=click.Path(path_type=Path),
    help="Folder to build it in.  [default: ~/.cache/edgekd/arm64]",
)
@click.option("--mirror", metavar="URL", help="Debian mirror.  [default: debootstrap's own]")
@click.option(
    "--stop", "stopping", is_flag=True, help="End its SSH server; it can be started again."
)
@takes_terminal
def emulate_command(
    *, terminal: Terminal, name: str, at: Path | None, mirror: str | None, stopping: bool
) -> None:
    """Make NAME an Arm board under QEMU on this machine; needs root and Linux.

    It proves that a model runs on Arm, answers rightly and fits the memory. Its times mean nothing
    and no table shows them.
    """
    from edgekd.devices.book import add, check_name
    from edgekd.devices.emulate import default_folder, emulate, require_emulated, stop

    folder = at or default_folder()
    if stopping:
        require_emulated(name, folder)
        terminal.info(f"{name}: {'stopped' if stop(folder) else 'was not running'}")
        return
    check_name(name)  # before minutes are spent on it
    add(name, emulate(folder, terminal, mirror=mirror))
    terminal.info(f"{name} answers; 'edgekd devices check {name}' looks at it")


@command.command("clean")
@click.argument("name")
@takes_terminal
def clean_command(*, terminal: Terminal, name: str) -> None:
    """Remove all that edgekd keeps on NAME; the next bench sends it again."""
    from edgekd.devices.check import clean

    terminal.info(f"{name}: {clean(name, terminal)} is empty")


def _findings_sheet(findings: Any) -> Sheet:
    return Sheet("", (findings.name, ""), findings.lines)


def _absolute(path: str | None) -> str | None:
    return None if path is None else str(Path(path).expanduser().absolute())
