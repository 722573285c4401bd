"""The wheels of a runtime for a board: found with pip on this machine, kept with their hashes."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from edgekd.devices.folders import cache_folder
from edgekd.errors import DeviceError

SUMS_FILE: Final = "SHA256SUMS"
"""Hashes of a folder of wheels, as ``sha256sum`` writes them."""

_OLDEST_GLIBC: Final[Mapping[str, int]] = {"aarch64": 17, "x86_64": 5}
# PEP 599 and 571: what wheels said before their tag named the version (PEP 600)
_OLD_NAMES: Final[Mapping[int, str]] = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a wheel has to fit."""

    name: str
    """Of the board, for messages."""
    arch: str
    glibc: tuple[int, int]
    python: tuple[int, int]

    @property
    def platforms(self) -> list[str]:
        """Platform tags that run there, newest first (PEP 600).

        >>> Target(name="b", arch="aarch64", glibc=(2, 18), python=(3, 11)).platforms
        ['manylinux_2_18_aarch64', 'manylinux_2_17_aarch64', 'manylinux2014_aarch64']
        """
        found = []
        for minor in range(self.glibc[1], _OLDEST_GLIBC.get(self.arch, 17) - 1, -1):
            found.append(f"manylinux_2_{minor}_{self.arch}")
            if minor in _OLD_NAMES:
                found.append(f"{_OLD_NAMES[minor]}_{self.arch}")
        return found

    def __str__(self) -> str:
        python, glibc = (".".join(map(str, version)) for version in (self.python, self.glibc))
        return f"Python {python} on {self.arch} with glibc {glibc}"


def requirements_of(package: str) -> list[str]:
    """``package`` and numpy with the versions that edgekd asks for.

    >>> [line.partition(">")[0] for line in requirements_of("onnxruntime")]
    ['numpy', 'onnxruntime']
    """
    found: dict[str, str] = {}
    for line in requires("edgekd") or ():
        requirement = Requirement(line)
        if requirement.name in ("numpy", package):
            found.setdefault(requirement.name, f"{requirement.name}{requirement.specifier}")
    return [found.get(name, name) for name in ("numpy", package)]


def gather_wheels(
    requirements: Sequence[str], target: Target, *, folder: Path | None = None
) -> list[Path]:
    """Wheels that fit ``target``, with all they need.

    Args:
        requirements: What is wanted.
        target: Where it shall run.
        folder: Wheels to choose from instead of the package index; its ``SHA256SUMS``, where it
            has one, is checked.

    Raises:
        DeviceError: If there are none that fit, the index cannot be reached, or a hash differs.
    """
    if folder is not None:
        if not folder.is_dir():
            raise DeviceError(f"--wheels {folder}: no such folder; expected one of .whl files")
        if (folder / SUMS_FILE).exists():
            verify_sums(folder)
        # What pip chooses is copied; the copies are read before the folder goes.
        copies = _folder_of(requirements, target, str(folder.resolve()))
        return _downloaded(
            copies, requirements, target, ["--no-index", "--find-links", str(folder)]
        )
    kept = _folder_of(requirements, target, "")
    if (kept / SUMS_FILE).exists():
        verify_sums(kept)
        return sorted(kept.glob("*.whl"))
    return _downloaded(kept, requirements, target, [])


def verify_sums(folder: Path) -> None:
    """Check every wheel that a folder's ``SHA256SUMS`` names.

    Raises:
        DeviceError: If one is missing or has another hash.
    """
    for line in (folder / SUMS_FILE).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        path = folder / Path(name).name
        found = _sha256(path) if path.is_file() else "missing"
        if digest != found:
            raise DeviceError(
                f"{path}: sha256 is {found[:12]}, {SUMS_FILE} says {digest[:12]}; "
                f"it was damaged or exchanged: remove {folder} and run the command again"
            )


def _folder_of(requirements: Sequence[str], target: Target, source: str) -> Path:
    wanted = "\n".join((*requirements, str(target), source))
    return cache_folder() / "wheels" / hashlib.sha256(wanted.encode()).hexdigest()[:16]


def _downloaded(
    kept: Path, requirements: Sequence[str], target: Target, options: Sequence[str]
) -> list[Path]:
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            part = Path(scratch) / "wheels"
            _pip_download(part, requirements, target, options)
            lines = [f"{_sha256(path)}  {path.name}\n" for path in sorted(part.glob("*.whl"))]
            (part / SUMS_FILE).write_text("".join(lines), encoding="utf-8")
            if kept.exists():
                kept.rename(Path(scratch) / "old")
            part.rename(kept)
    except OSError as error:
        raise DeviceError(
            f"{kept.parent}: wheels cannot be kept there ({error.strerror}); free space or set "
            "XDG_CACHE_HOME"
        ) from error
    return sorted(kept.glob("*.whl"))


def _pip_download(
    into: Path, requirements: Sequence[str], target: Target, options: Sequence[str]
) -> None:
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-input",
        "--disable-pip-version-check", "--only-binary=:all:", "--implementation", "cp",
        "--python-version", ".".join(map(str, target.python)),
    ]  # fmt: skip
    for platform in target.platforms:
        command += ["--platform", platform]
    done = subprocess.run(
        [*command, *options, "--dest", str(into), *requirements],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise _pip_failure(done.stderr, requirements, target)


def _pip_failure(stderr: str, requirements: Sequence[str], target: Target) -> DeviceError:
    wanted = ", ".join(requirements)
    if "No module named pip" in stderr:
        return DeviceError(
            f"{target.name}: pip is not installed here and is needed to fetch wheels; "
            f"{sys.executable} -m ensurepip"
        )
    if any(words in stderr for words in ("Connection", "Max retries", "name resolution")):
        return DeviceError(
            f"{target.name}: the package index cannot be reached to fetch {wanted}; fetch the "
            "wheels elsewhere ('pip download') and give their folder with --wheels DIR"
        )
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")] or [stderr]
    reason = " ".join(errors[-1].removeprefix("ERROR:").split())[:300]
    return DeviceError(
        f"{target.name}: no wheels of {wanted} for {target} ({reason}); "
        "a newer system on the board has more of them"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
