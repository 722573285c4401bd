"""The wire to a board: one ``ssh`` process, what is written to it, and the lines that come back.

A single ``ssh`` process with a single session, whose standard input and output carry everything:
the agent's own source, requests, files and results. So there is one login, no name of a file ever
meets a remote shell, and a board needs no SFTP server. When the connection ends, however it ends,
so does the agent.
"""

import contextlib
import json
import os
import queue
import secrets
import subprocess
import threading
from collections.abc import Mapping
from typing import IO, Any, Final

from edgekd.devices.address import Address
from edgekd.devices.bootstrap import bootstrap_command
from edgekd.errors import DeviceError

_TAIL: Final = 16_384  # of what ssh and the board's login write on standard error
_LONGEST_LINE: Final = 256 << 20
_BLOCK: Final = 1 << 18


class Connection:
    """A running ``ssh`` with the agent's bootstrap at its other end.

    Raises:
        DeviceError: If there is no ssh on this machine.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._word = f"edgekd-{secrets.token_hex(8)}"
        self._events: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self._stderr = b""
        try:
            self._process = subprocess.Popen(
                address.command(bootstrap_command(address.entry.python, self._word)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is ours; what follows from it we say in order
                env={**os.environ, "SSH_ASKPASS_REQUIRE": "never"},  # of a jump host, for example
            )
        except FileNotFoundError as error:
            raise DeviceError(
                f"{address.name}: there is no ssh on this machine; "
                "install an OpenSSH client (apt install openssh-client)"
            ) from error
        self._threads = [
            threading.Thread(target=target, args=(pipe,), daemon=True)
            for target, pipe in (
                (self._read_events, self._process.stdout),
                (self._read_noise, self._process.stderr),
            )
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """End the connection, and with it all that runs on the board for it."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(timeout=5)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def write(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            DeviceError: If the connection ended.
        """
        stdin = self._process.stdin
        try:
            if stdin is None:
                raise ValueError("the process has no input pipe")
            stdin.write(data)
            stdin.flush()
        except (OSError, ValueError):  # a closed pipe: the reason is on the other side
            raise self._lost() from None

    def next_event(self, seconds: float) -> Mapping[str, Any]:
        """The next thing the agent says, waiting for it at most so long.

        Raises:
            DeviceError: If the connection ended, or nothing came in time.
        """
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            raise DeviceError(
                f"{self._address.name}: no answer for {seconds:.0f} s; the board may hang or be "
                "out of memory: restart it and run the command again"
            ) from None
        if event is None:
            self._events.put(None)
            raise self._lost()
        return event

    def _lost(self) -> DeviceError:
        """Why the connection ended, from how ssh ended and what was written on standard error."""
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            status = None
        self._threads[1].join(timeout=5)
        stderr = self._stderr.decode(errors="replace")
        name, python = self._address.name, self._address.entry.python
        if status in (126, 127):  # of every POSIX shell: cannot be run, not found
            return DeviceError(
                f"{name}: there is no {python} on the board; install Python 3.11 or newer there "
                "(sudo apt install python3), or name one with 'edgekd devices add ... --python'"
            )
        if status in (255, None):  # ssh's own failures
            return self._address.explain(stderr)
        last = (stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
        return DeviceError(
            f"{name}: the agent on the board ended with status {status} ({last}); "
            "the board may have been restarted or be out of memory"
        )

    def _read_events(self, stdout: IO[bytes]) -> None:
        """Keep what begins with this connection's word; a login's greeting does not."""
        begin = self._word.encode() + b" "
        with contextlib.suppress(ValueError, OSError):  # closed, or cut short in the middle
            while line := stdout.readline(_LONGEST_LINE):
                if line.startswith(begin) and line.endswith(b"\n"):
                    self._events.put(json.loads(line[len(begin) :]))
        self._events.put(None)

    def _read_noise(self, stderr: IO[bytes]) -> None:
        with contextlib.suppress(ValueError, OSError):
            while block := stderr.read1(_BLOCK):  # type: ignore[attr-defined]
                self._stderr = (self._stderr + block)[-_TAIL:]
