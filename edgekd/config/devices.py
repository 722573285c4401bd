"""Where boards are: the entries of a devices file."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, field_validator

from edgekd.config.section import Section

_ADDRESS: Final = re.compile(r"(?:[^\s@:/-][^\s@:/]*@)?[\w][\w.:%-]*")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def device_name(value: str) -> str:
    """A name that every flag, file name and TOML key can carry.

    Raises:
        ValueError: If it is none.
    """
    if not _NAME.fullmatch(value):
        raise ValueError(
            "a device's name has letters, digits, '.', '_' and '-', at most 63 of them, and begins "
            "with a letter or digit"
        )
    return value


class DeviceEntry(Section):
    """One board."""

    address: str
    """``user@host``, or an alias of the user's SSH configuration."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """``None`` leaves it to SSH's configuration."""
    ssh_config: str | None = None
    """Another SSH configuration than the user's own."""
    identity: str | None = None
    """A private key's file; ``None`` leaves it to SSH."""
    python: str = "python3"
    """The interpreter on the board, Python 3.11 or newer."""
    folder: str | None = None
    """Where edgekd keeps its files on the board; ``None`` is ``~/.cache/edgekd``."""

    @property
    def shown(self) -> str:
        """The address with its port, where it has one of its own."""
        return self.address if self.port is None else f"{self.address}:{self.port}"

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not value.isprintable() or not _ADDRESS.fullmatch(value):
            raise ValueError("expected user@host")
        return value

    @field_validator("python", "folder", "ssh_config", "identity")
    @classmethod
    def _is_one_line(cls, value: str | None) -> str | None:
        if value is not None and (not value or not value.isprintable() or value.startswith("-")):
            raise ValueError("expected a path of printable characters that begins with no '-'")
        return value


class DevicesFile(Section):
    """A devices file: name -> board."""

    devices: dict[Annotated[str, AfterValidator(device_name)], DeviceEntry]
