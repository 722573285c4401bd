"""Requests to the agent of a board, and its answers.

Everything goes over one :class:`~edgekd.devices.connection.Connection`; every file is checked
against its hash by the very process that keeps it.
"""

import base64
import contextlib
import hashlib
import io
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

from edgekd.devices.address import CONNECT_SECONDS, Address
from edgekd.devices.bootstrap import agent_source
from edgekd.devices.connection import Connection
from edgekd.errors import DeviceError

_PING_SECONDS: Final = 10.0
_HELLO_SECONDS: Final = CONNECT_SECONDS + 50.0  # a login may be slow; an emulated one is
ANSWER_SECONDS: Final = 300.0
"""The agent says something more often than that while it works."""

_BLOCK: Final = 1 << 18


class RefusedError(DeviceError):
    """The agent's answer to a request it cannot meet; ``kind`` says which advice fits."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Session:
    """A connection to the agent of one board; a context manager.

    Raises:
        DeviceError: On entering, if there is no connection, or no Python that can run the agent.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._writing = threading.Lock()
        self._number = 0
        self._closing = threading.Event()

    def __enter__(self) -> "Session":
        self._connection = Connection(self._address)
        try:
            self._greet()
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._ping, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, and with it all that runs on the board for it."""
        self._closing.set()
        self._connection.close()

    def ask(self, op: str, **fields: Any) -> Mapping[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            DeviceError: If the connection ended.
            RefusedError: If the agent cannot do it.
        """
        number = self._send(op, **fields)
        return self._answer(number)

    def put(self, name: str, path: Path, *, passing: bool = False) -> None:
        """Send a file, to be kept there under the name of its hash.

        Args:
            name: Its hash and a suffix.
            path: The file.
            passing: Whether it shall be gone when the session is.

        Raises:
            DeviceError: If the connection ended, or the file changed while it was sent.
            RefusedError: If the board has no room for it, or it arrived as something else.
        """
        with path.open("rb") as file:
            size = path.stat().st_size
            number = self._send("put", payload=file, name=name, size=size, passing=passing)
        self._answer(number)

    def put_bytes(self, name: str, content: bytes) -> None:
        """Send bytes, to be kept there under the name of their hash; raises as :meth:`put`."""
        self._answer(self._send("put", payload=io.BytesIO(content), name=name, size=len(content)))

    def get(self, name: str) -> bytes:
        """A file that the job wrote.

        Raises:
            DeviceError: If the connection ended or the bytes are not those that were sent.
        """
        number, blocks = self._send("get", name=name), []
        while True:
            event = self.next_event(ANSWER_SECONDS)
            if event["event"] == "bytes":
                blocks.append(base64.b64decode(event["base64"]))
            elif event.get("id") == number:
                content = b"".join(blocks)
                if event["event"] != "done":
                    raise RefusedError(event["kind"], event["message"])
                if hashlib.sha256(content).hexdigest() != event["sha256"]:
                    raise DeviceError(f"{self._address.name}: {name} was damaged on its way here")
                return content

    def kill_runner(self) -> None:
        """End the runner there, if one runs; its end is told as an event."""
        with contextlib.suppress(DeviceError):  # without a connection it ends by itself
            self._send("kill")

    def next_event(self, seconds: float) -> Mapping[str, Any]:
        """The next thing the agent says, waiting for it at most so long.

        Raises:
            DeviceError: If the connection ended, or nothing came in time.
        """
        return self._connection.next_event(seconds)

    def _greet(self) -> None:
        with contextlib.suppress(DeviceError):  # a broken pipe: what came before it says why
            self._connection.write(agent_source())
            self._send("ping")
        event = self.next_event(_HELLO_SECONDS)
        if event["event"] == "old":
            raise DeviceError(
                f"{self._address.name}: {self._address.entry.python} there is Python "
                f"{event['version']}, expected 3.11 or newer; install a newer system on the board, "
                "or name another interpreter with 'edgekd devices add ... --python PATH'"
            )

    def _send(self, op: str, payload: IO[bytes] | None = None, **fields: Any) -> int:
        with self._writing:
            self._number += 1
            line = json.dumps({"op": op, "id": self._number, **fields}).encode() + b"\n"
            self._connection.write(line)
            if payload is not None:
                left = fields["size"]
                while left:
                    block = payload.read(min(left, _BLOCK))
                    if not block:
                        raise DeviceError("a file changed while it was sent; run the command again")
                    self._connection.write(block)
                    left -= len(block)
            return self._number

    def _answer(self, number: int) -> Mapping[str, Any]:
        while True:
            event = self.next_event(ANSWER_SECONDS)
            if event.get("id") != number:
                continue  # of a ping, of a runner that was killed, or a sign of life
            if event["event"] == "refused":
                raise RefusedError(event["kind"], event["message"])
            return event

    def _ping(self) -> None:
        while not self._closing.wait(_PING_SECONDS):
            with contextlib.suppress(DeviceError):
                self._send("ping")
