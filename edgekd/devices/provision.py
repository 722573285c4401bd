"""What a board is, whether it will do, and the environments edgekd makes there."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from edgekd.console import Console
from edgekd.devices.session import RefusedError, Session
from edgekd.devices.wheels import Target, gather_wheels, requirements_of
from edgekd.errors import DeviceError
from edgekd.runtimes.session import RUNTIMES

ARCHITECTURES: Final = ("aarch64", "x86_64")
_UNPACKED: Final = 5  # a wheel and what it unpacks to, over the wheel: numpy 4, onnxruntime 4.5


@dataclass(frozen=True, kw_only=True)
class Board:
    """What the agent found."""

    name: str
    device: Mapping[str, Any]
    """What :func:`edgekd.devices.probe.probe` tells."""
    bits: int
    python: tuple[int, int, int]
    implementation: str
    libc: tuple[str, str]
    folder: str
    writable: str | None
    """``None`` where files can be written; otherwise why not."""
    free_bytes: int
    cpu_flags: frozenset[str] = frozenset()
    """As the kernel names them: what the processor can do."""

    @property
    def target(self) -> Target:
        """What wheels have to fit."""
        major, _, minor = self.libc[1].partition(".")
        return Target(
            name=self.name,
            arch=str(self.device["arch"]),
            glibc=(int(major), int(minor)),
            python=self.python[:2],
        )


def look_at(session: Session, name: str, folder: str | None) -> Board:
    """Ask the agent what its board is.

    Raises:
        DeviceError: If the connection ended.
    """
    facts = session.ask("facts", folder=folder)
    return Board(
        name=name,
        device=facts["device"],
        bits=facts["bits"],
        python=(facts["python"][0], facts["python"][1], facts["python"][2]),
        implementation=facts["implementation"],
        libc=(facts["libc"][0], facts["libc"][1]),
        folder=facts["folder"],
        writable=facts["writable"],
        free_bytes=facts["free_bytes"],
        cpu_flags=frozenset(facts["cpu_flags"]),
    )


def obstacles(board: Board) -> list[str]:
    """Everything that keeps runtimes from running there, a line each; none where it will do."""
    found = []
    arch = board.device["arch"]
    if board.bits != 64:
        found.append(
            f"a 32-bit system ({arch}); runtimes have wheels for 64 bits only: install the 64-bit "
            "system on the board"
        )
    elif arch not in ARCHITECTURES:
        found.append(f"a {arch} processor; runtimes have wheels for {', '.join(ARCHITECTURES)}")
    if board.libc[0] != "glibc":
        found.append(
            "its C library is not glibc; runtimes have wheels for glibc only: install a system "
            "such as Debian, Ubuntu or Raspberry Pi OS"
        )
    if board.implementation != "CPython":
        found.append(
            f"its Python is {board.implementation}; runtimes have wheels for CPython: "
            "name another with 'edgekd devices add ... --python PATH'"
        )
    if board.writable is not None:
        found.append(
            f"{board.folder} cannot be written ({board.writable}); make the home writable, or name "
            "another folder with 'edgekd devices add ... --folder PATH'"
        )
    return found


def require(board: Board) -> None:
    """Refuse a board that will not do.

    Raises:
        DeviceError: With the first obstacle.
    """
    for obstacle in obstacles(board):
        raise DeviceError(f"{board.name}: {obstacle}")


def ensure_site(
    session: Session,
    board: Board,
    model_format: str,
    program: str,
    *,
    wheels: Path | None,
    console: Console,
) -> str:
    """The name of an environment there that runs files of a format; made where there is none.

    Args:
        session: Holds the board's lock.
        board: What it is.
        model_format: ``onnx`` or ``tflite``.
        program: The object that is the runner.
        wheels: A folder of wheels in place of the package index; then exactly these are used.
        console: Told what is fetched and sent.

    Raises:
        DeviceError: If there are no wheels, or the board cannot take or import them.
    """
    entry = RUNTIMES[model_format]
    requirements = requirements_of(entry.package)
    if wheels is None:
        found = _fitting_site(session, board, entry.module, requirements)
        if found is not None:
            return found
        console.info(f"{board.name}: fetching {', '.join(requirements)} for {board.target}")
    files = gather_wheels(requirements, board.target, folder=wheels)
    sent = [{"file": path.name, "object": f"{_sha256(path)}.whl"} for path in files]
    name = _site_name(sent, board)
    if name in session.ask("sites")["sites"]:
        return name
    size = sum(path.stat().st_size for path in files)
    if board.free_bytes < size * _UNPACKED:
        raise DeviceError(
            f"{board.name}: {board.free_bytes / 1e6:.0f} MB are free in {board.folder}, "
            f"{entry.package} needs about {size * _UNPACKED / 1e6:.0f} MB; free some space"
        )
    with console.track(f"{board.name}: sending {entry.package}", len(files) + 1) as tracker:
        for path, item in zip(files, sent, strict=True):
            session.put(item["object"], path)
            tracker.advance()
        tracker.describe("unpacking")
        session.ask(
            "make_site",
            name=name,
            wheels=sent,
            python=list(board.python[:2]),
            imports=[entry.module],
            program=program,
        )
        tracker.advance()
    return name


def site_version(session: Session, site: str, package: str) -> str:
    """The version of a package in an environment there.

    Raises:
        DeviceError: If the connection ended.
    """
    return str(_versions(session.ask("sites")["sites"][site])[canonicalize_name(package)])


def advice(board_name: str, folder: str, refusal: RefusedError) -> DeviceError:
    """The one line for what the agent could not do."""
    what = {
        "full": f"the disk is full ({refusal}); free space in {folder}",
        "locked": f"it is being used by {refusal}; wait until that is over, or stop it",
        "hash": f"{refusal}: it was damaged on its way or on the disk; run the command again",
        "wheel": f"{refusal}; take the wheel from its publisher",
        "imports": f"{refusal}; the system there may be too old for it: install a newer one",
    }.get(refusal.kind, f"{refusal}; check {folder} on the board")
    return DeviceError(f"{board_name}: {what}")


def _fitting_site(
    session: Session, board: Board, module: str, requirements: Sequence[str]
) -> str | None:
    for name, content in sorted(session.ask("sites")["sites"].items()):
        if content["python"] != list(board.python[:2]) or module not in content["imports"]:
            continue
        versions = _versions(content)
        wanted = [Requirement(line) for line in requirements]
        if all(
            (version := versions.get(canonicalize_name(requirement.name))) is not None
            and requirement.specifier.contains(version, prereleases=True)
            for requirement in wanted
        ):
            return str(name)
    return None


def _versions(site: Mapping[str, Any]) -> dict[NormalizedName, Version]:
    """Package to version of the wheels an environment was made from."""
    return dict(parse_wheel_filename(wheel["file"])[:2] for wheel in site["wheels"])


def _site_name(wheels: Sequence[Mapping[str, str]], board: Board) -> str:
    parts = [*sorted(wheel["object"] for wheel in wheels), *map(str, board.python[:2])]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
