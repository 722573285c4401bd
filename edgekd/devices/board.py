"""A board over SSH as a device: the same runner as here, with nothing to install by hand."""

import getpass
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from edgekd.console import Console
from edgekd.devices.address import Address
from edgekd.devices.courier import Courier
from edgekd.devices.drive import IDLE_SECONDS, Watch, drive, runner_environment
from edgekd.devices.job import Job, Latencies, Outcome, RaceJob
from edgekd.devices.program import runner_program
from edgekd.devices.provision import (
    Board,
    advice,
    ensure_site,
    look_at,
    require,
    site_version,
)
from edgekd.devices.race import despite_crashes, times_of
from edgekd.devices.remote_process import RemoteProcess
from edgekd.devices.session import RefusedError, Session
from edgekd.errors import BundleError, DataError, DeviceError, ModelError
from edgekd.records import DeviceInfo
from edgekd.runtimes.session import RUNTIMES, format_of

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
        self._courier = Courier(session, board.folder)
        self._program: str | None = None

    def describe(self) -> DeviceInfo:
        """The board, as it was when the connection was opened."""
        return DeviceInfo(name=self._board.name, **self._board.device)

    def cpu_flags(self) -> frozenset[str]:
        """What its processor can do, in its kernel's words."""
        return self._board.cpu_flags

    def runtime_version(self, model_format: str) -> str:
        """Of what runs files of a format there; sent there first, where it is missing.

        Raises:
            DeviceError: If there are no wheels for it, or the board cannot take or import them.
        """
        with self._advising():
            _, site = self._provide(model_format)
            return site_version(self._session, site, RUNTIMES[model_format].package)

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
        with self._advising():
            sent = self._send(job, model_format)
            process = self._start(sent, model_format)
            with self._in_our_words({sent.model: job.model}):
                outcome = drive(job, process, watch=watch, idle_seconds=idle_seconds)
            if job.logits is not None:
                Path(job.logits).write_bytes(self._session.get(_LOGITS))
        return outcome

    def race(
        self, files: Sequence[Path], *, num_threads: int, seconds: float
    ) -> tuple[Latencies | None, ...]:
        """Time files against each other in a fresh process on the board.

        Args:
            files: Of one format and for the same inputs; they are gone with the connection.
            num_threads: Threads that compute, >= 1.
            seconds: About how long each file is timed, sending and loading not included.

        Returns:
            As :func:`edgekd.devices.race.race`.

        Raises:
            BundleError: If the runtime there refuses every file.
            DeviceError: If the connection ended, the board cannot hold the files, or none runs.
        """
        model_format = format_of(files[0])

        def once(paths: Sequence[Path], seconds: float) -> tuple[Latencies | None, ...]:
            sent = self._courier.lend(paths, model_format)
            job = RaceJob(files=tuple(sent), num_threads=num_threads, seconds=seconds)
            process = self._start(job, model_format)
            with self._in_our_words(dict(zip(sent, map(str, paths), strict=True))):
                return times_of(job, process)

        with self._advising():
            return despite_crashes(once, files, seconds)

    def install(self, model_format: str) -> None:
        """Make sure that the board can run files of a format.

        Raises:
            DeviceError: If there are no wheels for it, or it cannot take or import them.
        """
        with self._advising():
            self._provide(model_format)

    def clean(self) -> str:
        """Remove all that edgekd keeps there; returns the folder.

        Raises:
            DeviceError: If the connection ended or something cannot be removed.
        """
        with self._advising():
            self._session.ask("clean")
        return self._board.folder

    def _provide(self, model_format: str) -> tuple[str, str]:
        """The runner and the environment it runs a format in, both being there."""
        if self._program is None:
            self._program = self._courier.send_bytes(runner_program(), "pyz")
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
        return replace(
            job,
            model=self._courier.send(Path(job.model), model_format),
            samples=tuple(self._courier.send(Path(path), "npy") for path in job.samples),
            logits=f"{self._board.folder}/job/{_LOGITS}" if job.logits is not None else None,
        )

    def _start(self, job: Job | RaceJob, model_format: str) -> RemoteProcess:
        """A runner of a job whose paths are the board's."""
        program, site = self._provide(model_format)
        started = self._session.ask(
            "run",
            program=program,
            site=site,
            job=job.to_json(),
            environment=runner_environment(job.num_threads),
        )
        return RemoteProcess(self._session, started["run"])

    @contextmanager
    def _advising(self) -> Iterator[None]:
        """What the agent refuses, as one line with what to do."""
        try:
            yield
        except RefusedError as refusal:
            raise advice(self._board.name, self._board.folder, refusal) from refusal

    @contextmanager
    def _in_our_words(self, sent: Mapping[str, str]) -> Iterator[None]:
        """Errors name the board, and files as they are named here (path there -> path here)."""
        try:
            yield
        except (BundleError, DataError, DeviceError, ModelError) as error:
            words = str(error)
            for there, here in sent.items():
                words = words.replace(there, here)
            if not words.startswith(self._board.name):
                words = f"{self._board.name}: {words}"
            raise type(error)(words) from error
