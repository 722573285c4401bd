"""How a board is reached with the system's OpenSSH client, and what its refusals mean.

The user's keys, configuration, jump hosts and known_hosts apply; edgekd never asks for a password
and never weakens the check of a host's key.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edgekd.config.devices import DeviceEntry
from edgekd.errors import DeviceError

CONNECT_SECONDS: Final = 10
_ALIVE_SECONDS: Final = 5
_ALIVE_COUNT: Final = 4  # a dead connection is noticed after 20 s

_OPTIONS: Final = (
    "BatchMode=yes",  # no prompt, ever
    "StrictHostKeyChecking=yes",
    f"ConnectTimeout={CONNECT_SECONDS}",
    f"ServerAliveInterval={_ALIVE_SECONDS}",
    f"ServerAliveCountMax={_ALIVE_COUNT}",
    # One connection of our own, whose end is noticed; not a session in one that others share.
    "ControlMaster=no",
    "ControlPath=none",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
    "LogLevel=ERROR",
)


@dataclass(frozen=True)
class Address:
    """A named board and how to log in."""

    name: str
    entry: DeviceEntry

    def command(self, remote: Sequence[str]) -> list[str]:
        """The arguments of an ``ssh`` that runs ``remote`` there.

        OpenSSH hands a remote shell one string: every argument is quoted for it.
        """
        options = [part for option in _OPTIONS for part in ("-o", option)]
        if self.entry.ssh_config is not None:
            options += ["-F", self.entry.ssh_config]
        if self.entry.identity is not None:
            options += ["-i", self.entry.identity, "-o", "IdentitiesOnly=yes"]
        if self.entry.port is not None:
            options += ["-p", str(self.entry.port)]
        return ["ssh", *options, "--", self.entry.address, shlex.join(remote)]

    def explain(self, stderr: str) -> DeviceError:
        """The one line for a connection that ssh could not make, or that broke.

        Args:
            stderr: The end of what ssh wrote on standard error.
        """
        for words, advice in _REASONS:
            if words in stderr:
                return DeviceError(
                    f"{self.name}: {advice.format(address=self.entry.address, host=self.host)}"
                )
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        said = lines[-1][:300] if lines else "ssh gave no reason"
        return DeviceError(
            f"{self.name}: the connection to {self.entry.address} ended ({said}); "
            f"check that the board is on and that 'ssh {self.entry.address}' works"
        )

    @property
    def host(self) -> str:
        """The address without its user."""
        return self.entry.address.rpartition("@")[2]


_REASONS: Final[tuple[tuple[str, str], ...]] = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key of {host} is not the one in known_hosts: another machine answers there, or "
        "the board was set up anew; if it was, type 'ssh-keygen -R {host}' and 'ssh {address}'",
    ),
    (
        "Host key verification failed",
        "the host key of {host} is not in known_hosts; log in once by hand with 'ssh {address}' "
        "and compare the key it shows",
    ),
    (
        "Permission denied",
        "{host} refuses the key for {address}; put your public key there with "
        "'ssh-copy-id {address}', or name another with 'edgekd devices add ... --identity FILE'",
    ),
    (
        "Could not resolve hostname",
        "no host {host} is known; check the name, or give its address with 'edgekd devices add'",
    ),
    (
        "Connection refused",
        "{host} is there but no SSH server answers; turn it on (on a Raspberry Pi: "
        "sudo raspi-config, interface options) or check the port",
    ),
    (
        "timed out",
        "{host} does not answer; check that the board is on and in this network",
    ),
    ("No route to host", "{host} cannot be reached; check that it is on and in this network"),
    ("Network is unreachable", "{host} cannot be reached; check this machine's network"),
)
