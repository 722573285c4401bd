"""The names of boards: the user's devices file, overridden by a project's, and what is built in.

A project's file says where boards are. How to log in (another SSH configuration, a private key) is
the user's own to say: such a configuration may start programs, and projects come from strangers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edgekd.atomic import write_atomically
from edgekd.config import build_recipe, read_recipe, to_toml
from edgekd.config.devices import DeviceEntry, DevicesFile, device_name
from edgekd.devices.folders import config_folder
from edgekd.errors import ConfigError, DeviceError, UsageError

LOCAL: Final = "local"
"""This machine; no entry, and no entry may take its name."""

PROJECT_FILE: Final = Path("edgekd-devices.toml")
"""In the working folder."""

BUILT_IN: Final[Mapping[str, DeviceEntry]] = {"rpi": DeviceEntry(address="pi@raspberrypi.local")}

_USERS_OWN: Final = ("ssh_config", "identity")
_TYPED: Final[Mapping[str, str]] = {
    "address": "the address",
    "port": "the port",
    "ssh_config": "--ssh-config",
    "identity": "--identity",
    "python": "--python",
    "folder": "--folder",
}
"""Field of an entry to what a user types for it."""


def user_file() -> Path:
    """Where ``edgekd devices add`` writes."""
    return config_folder() / "devices.toml"


def known_devices() -> dict[str, tuple[DeviceEntry, str]]:
    """Every board by name, with where it was found.

    Raises:
        ConfigError: If one of the files is not a devices file.
    """
    found = {name: (entry, "built in") for name, entry in BUILT_IN.items()}
    found |= {name: (entry, str(user_file())) for name, entry in _read(user_file()).items()}
    project = _read(PROJECT_FILE)
    for name, entry in project.items():
        told = [key for key in _USERS_OWN if getattr(entry, key) is not None]
        if told:
            raise ConfigError(
                f"{PROJECT_FILE}: devices.{name}.{told[0]}: a project does not say how to log in; "
                f"give it with 'edgekd devices add {name} ...', or in your SSH configuration"
            )
        found[name] = (entry, str(PROJECT_FILE))
    return found


def find_entry(name: str) -> DeviceEntry:
    """The board of a name.

    Raises:
        ConfigError: If a devices file is damaged.
        DeviceError: If there is no such board.
    """
    known = known_devices()
    if name not in known:
        raise DeviceError(
            f"unknown device {name!r}; known are {', '.join((LOCAL, *sorted(known)))}: "
            f"add it with 'edgekd devices add {name} user@host'"
        )
    return known[name][0]


def add(name: str, entry: DeviceEntry) -> None:
    """Write a board into the user's file, over one of the same name.

    Raises:
        ConfigError: If the file is not one for devices.
        OutputError: If the file cannot be written.
        UsageError: If the name is none for a board.
    """
    check_name(name)
    _write({**_read(user_file()), name: entry})


def check_name(name: str) -> None:
    """Whether a board can be called so.

    Raises:
        UsageError: If not.
    """
    if name == LOCAL:
        raise UsageError(f"{LOCAL} is this machine; give the board another name")
    try:
        device_name(name)
    except ValueError as error:
        raise UsageError(f"{name!r}: {error}; for example rpi-2") from error


def entry_of(address: str, fields: Mapping[str, str | None]) -> DeviceEntry:
    """An entry from ``user@host``, ``user@host:port`` or ``user@[IPv6]:port`` and its other fields.

    Raises:
        UsageError: With everything that is wrong with it.
    """
    host, port = address, None
    head, colon, tail = address.rpartition(":")
    if colon and tail.isdecimal() and ("]" in head or ":" not in head):
        host, port = head, tail
    return build_recipe(
        DeviceEntry,
        flags={**fields, "address": host.replace("[", "").replace("]", ""), "port": port},
        names=_TYPED,
    )


def remove(name: str) -> None:
    """Take a board out of the user's file.

    Raises:
        DeviceError: If it is not in that file.
        OutputError: If the file cannot be written.
    """
    entries = _read(user_file())
    if name not in entries:
        raise DeviceError(
            f"{name!r} is not in {user_file()}; 'edgekd devices list' says where each one is from"
        )
    _write({other: entry for other, entry in entries.items() if other != name})


def _read(path: Path) -> dict[str, DeviceEntry]:
    if not path.exists():
        return {}
    fields = {"devices": {}, **read_recipe(path)}
    try:
        return build_recipe(DevicesFile, flags=fields).devices
    except ConfigError as error:
        raise ConfigError(str(error).replace("command line", str(path), 1)) from error


def _write(entries: Mapping[str, DeviceEntry]) -> None:
    fields = {name: entry.model_dump() for name, entry in entries.items()}
    content = to_toml(build_recipe(DevicesFile, flags={"devices": fields}))
    write_atomically(user_file(), content.encode())
