"""One connection to a board: requests to the agent there, and its answers.

A single ``ssh`` process with a single session, whose standard input and output carry everything:
the agent's own source, requests, files and results. So there is one login, no name of a file ever
meets a remote shell, a board needs no SFTP server, and every file is checked against its hash by
the very process that keeps it. When the connection ends, however it ends, so does the agent.
"""

import base64
import contextlib
import hashlib
import io
import json
import os
import queue
import secrets
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

from edgekd.devices.address import CONNECT_SECONDS, Address
from edgekd.devices.bootstrap import agent_source, bootstrap_command
from edgekd.errors import DeviceError

_PING_SECONDS: Final = 10.0
_HELLO_SECONDS: Final = CONNECT_SECONDS + 50.0  # a login may be slow; an emulated one is
ANSWER_SECONDS: Final = 300.0
"""The agent says something more often than that while it works."""

_TAIL: Final = 16_384  # of what ssh and the board's login write on standard error
_LONGEST_LINE: Final = 256 << 20
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
        self._word = f"edgekd-{secrets.token_hex(8)}"
        self._answers: queue.Queue[Mapping[str, Any] | None] = queue.Queue()
        self._writing = threading.Lock()
        self._stderr = b""
        self._number = 0
        self._closing = threading.Event()

    def __enter__(self) -> "Session":
        entry = self._address.entry
        command = bootstrap_command(entry.python, self._word)
        try:
            self._process = subprocess.Popen(
                self._address.command(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is ours; what follows from it we say in order
                env={**os.environ, "SSH_ASKPASS_REQUIRE": "never"},  # of a jump host, for example
            )
        except FileNotFoundError as error:
            raise DeviceError(
                f"{self._address.name}: there is no ssh on this machine; "
                "install an OpenSSH client (apt install openssh-client)"
            ) from error
        self._threads = [
            threading.Thread(target=target, args=(pipe,), daemon=True)
            for target, pipe in (
                (self._read_answers, self._process.stdout),
                (self._read_noise, self._process.stderr),
            )
        ]
        for thread in self._threads:
            thread.start()
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
        try:
            event = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise DeviceError(
                f"{self._address.name}: no answer for {seconds:.0f} s; the board may hang or be "
                "out of memory: restart it and run the command again"
            ) from None
        if event is None:
            self._answers.put(None)
            raise self._lost()
        return event

    def _greet(self) -> None:
        with contextlib.suppress(DeviceError):  # a broken pipe: what came before it says why
            self._write(agent_source())
            self._send("ping")
        event = self.next_event(_HELLO_SECONDS)
        if event["event"] == "old":
            raise DeviceError(
                f"{self._address.name}: {self._address.entry.python} there is Python "
                f"{event['version']}, expected 3.11 or newer; install a newer system on the board, "
                "or name another interpreter with 'edgekd devices add ... --python PATH'"
            )

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

    def _send(self, op: str, payload: IO[bytes] | None = None, **fields: Any) -> int:
        with self._writing:
            self._number += 1
            line = json.dumps({"op": op, "id": self._number, **fields}).encode() + b"\n"
            self._write(line)
            if payload is not None:
                left = fields["size"]
                while left:
                    block = payload.read(min(left, _BLOCK))
                    if not block:
                        raise DeviceError("a file changed while it was sent; run the command again")
                    self._write(block)
                    left -= len(block)
            return self._number

    def _write(self, data: bytes) -> None:
        stdin = self._process.stdin
        try:
            if stdin is None:
                raise ValueError("the process has no input pipe")
            stdin.write(data)
            stdin.flush()
        except (OSError, ValueError):  # a closed pipe: the reason is on the other side
            raise self._lost() from None

    def _answer(self, number: int) -> Mapping[str, Any]:
        while True:
            event = self.next_event(ANSWER_SECONDS)
            if event.get("id") != number:
                continue  # of a ping, of a runner that was killed, or a sign of life
            if event["event"] == "refused":
                raise RefusedError(event["kind"], event["message"])
            return event

    def _read_answers(self, stdout: IO[bytes]) -> None:
        """Keep what begins with this session's word; a login's greeting does not."""
        begin = self._word.encode() + b" "
        with contextlib.suppress(ValueError, OSError):  # closed, or cut short in the middle
            while line := stdout.readline(_LONGEST_LINE):
                if line.startswith(begin) and line.endswith(b"\n"):
                    self._answers.put(json.loads(line[len(begin) :]))
        self._answers.put(None)

    def _read_noise(self, stderr: IO[bytes]) -> None:
        with contextlib.suppress(ValueError, OSError):
            while block := stderr.read1(_BLOCK):  # type: ignore[attr-defined]
                self._stderr = (self._stderr + block)[-_TAIL:]

    def _ping(self) -> None:
        while not self._closing.wait(_PING_SECONDS):
            with contextlib.suppress(DeviceError):
                self._send("ping")
