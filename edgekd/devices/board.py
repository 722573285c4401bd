"""A board over SSH as a device: the same runner as here, with nothing to install by hand."""

import getpass
import hashlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edgekd.console import Console
from edgekd.devices.address import Address
from edgekd.devices.drive import IDLE_SECONDS, Watch, drive, runner_environment
from edgekd.devices.job import Job, Outcome
from edgekd.devices.program import runner_program
from edgekd.devices.provision import Board, advice, ensure_site, look_at, require
from edgekd.devices.session import ANSWER_SECONDS, RefusedError, Session
from edgekd.errors import BundleError, DataError, DeviceError, ModelError
from edgekd.records import DeviceInfo
from edgekd.runtimes.session import format_of

_LOGITS: Final = "logits.npy"


@contextmanager
def open_board(
    address: Address, console: Console, *, wheels: Path | None = None
) -> Iterator["RemoteDevice"]:
    """A connection to a board that nobody else measures on meanwhile.

    Args:
        address: Where it is.
        console: Told what is fetched and sent.
        wheels: A folder of wheels in place of the package index.

    Raises:
        DeviceError: If it cannot be reached, will not do, or another host uses it.
    """
    with Session(address) as session:
        board = look_at(session, address.name, address.entry.folder)
        require(board)
        try:
            session.ask("lock", who=f"{getpass.getuser()} on {socket.gethostname()}")
        except RefusedError as refusal:
            raise advice(board.name, board.folder, refusal) from refusal
        yield RemoteDevice(session, board, console, wheels)


class RemoteDevice:
    """A board to which a connection is open; made by :func:`open_board`."""

    def __init__(
        self, session: Session, board: Board, console: Console, wheels: Path | None
    ) -> None:
        self._session = session
        self._board = board
        self._console = console
        self._wheels = wheels
        self._sites: dict[str, str] = {}
        self._sent: dict[tuple[str, int, int], str] = {}
        self._program: str | None = None

    def describe(self) -> DeviceInfo:
        """The board, as it was when the connection was opened."""
        return DeviceInfo(name=self._board.name, **self._board.device)

    def measure(
        self,
        job: Job,
        *,
        watch: Watch = lambda event: None,
        idle_seconds: float = IDLE_SECONDS,
    ) -> Outcome:
        """Run one job in a fresh process on the board; a single timed call where it is emulated.

        Args:
            job: What to measure; its paths are of this machine.
            watch: Called with every event of the runner, for progress.
            idle_seconds: How long the runner may stay silent.

        Raises:
            BundleError: If the model file is damaged.
            DeviceError: If the connection ended, the board cannot hold or run what it is sent, or
                the runner crashed, hung or was killed.
        """
        model_format = format_of(Path(job.model))
        if model_format == "torch":
            raise DeviceError(
                f"{self._board.name}: --baseline runs torch, which boards do not have; "
                "measure it with --device local"
            )
        if self._board.device["emulated"]:  # slow, and its times mean nothing: call it once
            job = replace(
                job,
                num_warmup=0,
                num_calls=1,
                min_seconds=0.0,
                sustain_seconds=0.0,
                energy_seconds=0.0,
            )
        try:
            program, site = self._provide(model_format)
            sent = self._send(job, model_format)
            started = self._session.ask(
                "run",
                program=program,
                site=site,
                job=sent.to_json(),
                environment=runner_environment(job.num_threads),
            )
            process = _Process(self._session, started["run"])
            outcome = self._follow(process, job, sent, watch, idle_seconds)
            if job.logits is not None:
                Path(job.logits).write_bytes(self._session.get(_LOGITS))
        except RefusedError as refusal:
            raise advice(self._board.name, self._board.folder, refusal) from refusal
        return outcome

    def install(self, model_format: str) -> None:
        """Make sure that the board can run files of a format.

        Raises:
            DeviceError: If there are no wheels for it, or it cannot take or import them.
        """
        try:
            self._provide(model_format)
        except RefusedError as refusal:
            raise advice(self._board.name, self._board.folder, refusal) from refusal

    def clean(self) -> str:
        """Remove all that edgekd keeps there; returns the folder.

        Raises:
            DeviceError: If the connection ended or something cannot be removed.
        """
        try:
            self._session.ask("clean")
        except RefusedError as refusal:
            raise advice(self._board.name, self._board.folder, refusal) from refusal
        return self._board.folder

    def _provide(self, model_format: str) -> tuple[str, str]:
        """The runner and the environment it runs a format in, both being there."""
        if self._program is None:
            self._program = self._send_bytes(runner_program(), "pyz")
        if model_format not in self._sites:
            self._sites[model_format] = ensure_site(
                self._session,
                self._board,
                model_format,
                self._program,
                wheels=self._wheels,
                console=self._console,
            )
        return self._program, self._sites[model_format]

    def _send(self, job: Job, model_format: str) -> Job:
        """The job in the board's paths, every file it names being there."""
        objects = f"{self._board.folder}/objects"
        return replace(
            job,
            model=f"{objects}/{self._send_file(Path(job.model), model_format)}",
            samples=tuple(
                f"{objects}/{self._send_file(Path(path), 'npy')}" for path in job.samples
            ),
            logits=f"{self._board.folder}/job/{_LOGITS}" if job.logits is not None else None,
        )

    def _send_file(self, path: Path, suffix: str) -> str:
        """Put a file there, unless it is; its name there is its hash."""
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        if key not in self._sent:
            with path.open("rb") as file:
                name = f"{hashlib.file_digest(file, 'sha256').hexdigest()}.{suffix}"
            if not self._session.ask("have", names=[name])["names"]:
                self._session.put(name, path)
            self._sent[key] = name
        return self._sent[key]

    def _send_bytes(self, content: bytes, suffix: str) -> str:
        name = f"{hashlib.sha256(content).hexdigest()}.{suffix}"
        if not self._session.ask("have", names=[name])["names"]:
            self._session.put_bytes(name, content)
        return name

    def _follow(
        self, process: "_Process", job: Job, sent: Job, watch: Watch, idle_seconds: float
    ) -> Outcome:
        try:
            return drive(job, process, watch=watch, idle_seconds=idle_seconds)
        except (BundleError, DataError, DeviceError, ModelError) as error:
            words = str(error).replace(sent.model, job.model)
            if not words.startswith(self._board.name):
                words = f"{self._board.name}: {words}"
            raise type(error)(words) from error


class _Process:
    """A runner on the board; what an earlier one still says is not taken for its words."""

    def __init__(self, session: Session, run: int) -> None:
        self._session = session
        self._run = run
        self._ended: list[Mapping[str, Any]] = []

    def lines(self) -> Iterator[bytes]:
        while not self._ended:
            event = self._session.next_event(ANSWER_SECONDS)
            if event.get("run") != self._run:
                continue
            if event["event"] == "line":
                yield event["line"].encode()
            elif event["event"] == "ended":
                self._ended.append(event)

    def kill(self) -> None:
        self._session.kill_runner()

    def wait(self) -> int:
        return int(self._end()["status"])

    def last_words(self) -> str:
        lines = str(self._end()["stderr"]).split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        if not self._ended:
            self.kill()

    def _end(self) -> Mapping[str, Any]:
        if not self._ended:
            for _ in self.lines():
                pass
        return self._ended[0]
