"""``edgekd doctor``: what is installed, what is missing, what to type.

Packages are read from the metadata of what is installed: nothing heavy is imported and the network
is never used.
"""

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Final

import click
from packaging.requirements import Requirement

from edgekd import __version__
from edgekd.cli.options import takes_terminal
from edgekd.cli.terminal import Sheet, Terminal
from edgekd.cli.tools import Tool, tools

CORE: Final = "core"
_TORCH_PAIR: Final = ("torch", "torchvision")


@dataclass(frozen=True, kw_only=True)
class Package:
    """One requirement of edgekd and what is there of it; ``installed`` is a version or ``None``."""

    name: str
    wanted: str
    installed: str | None
    fits: bool


@dataclass(frozen=True, kw_only=True)
class Extra:
    """One extra, whether everything in it is there, and what to type if not."""

    name: str
    complete: bool
    install: str | None
    packages: tuple[Package, ...]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that the doctor knows."""

    edgekd: str
    python: str
    platform: str
    machine: str
    cpu_count: int | None
    usable_cpus: int
    thread_variables: dict[str, str]
    extras: tuple[Extra, ...]
    tools: tuple[Tool, ...]
    problems: tuple[str, ...]


@click.command("doctor")
@takes_terminal
def command(*, terminal: Terminal) -> None:
    """Say what is installed, what is missing, and what to type."""
    findings = examine()
    terminal.show(
        asdict(findings),
        _machine_sheet(findings),
        _extras_sheet(findings),
        _tools_sheet(findings),
    )
    for problem in findings.problems:
        terminal.warn(problem)
    for extra in findings.extras:
        if extra.install is not None:
            terminal.info(f"to complete {extra.name}: {extra.install}")
    if not findings.problems and all(extra.complete for extra in findings.extras):
        terminal.info("everything is there: all extras are complete and fit together")


def examine() -> Findings:
    """Look at this machine and at the metadata of what is installed."""
    extras = tuple(_extra(name) for name in (CORE, *_extra_names()))
    installed = {p.name for extra in extras for p in extra.packages if p.installed is not None}
    return Findings(
        edgekd=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        machine=platform.machine(),
        cpu_count=os.cpu_count(),
        usable_cpus=len(os.sched_getaffinity(0)),
        thread_variables={k: v for k, v in os.environ.items() if k.endswith("_NUM_THREADS")},
        extras=extras,
        tools=tuple(tools(installed_version("torch"))),
        problems=(*_conflicts(sorted(installed)), *_torn_pair()),
    )


def requirements_of(package: str, extra: str | None = None) -> Iterator[Requirement]:
    """What an installed ``package`` needs on this machine, without or only for one ``extra``."""
    for line in requires(package) or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if extra is None:
            if marker is None or marker.evaluate({"extra": ""}):
                yield requirement
        elif marker and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""}):
            yield requirement


def installed_version(package: str) -> str | None:
    """The version of ``package``, or ``None`` if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _extra_names() -> list[str]:
    return metadata("edgekd").get_all("Provides-Extra") or []


def _extra(name: str) -> Extra:
    needed = list(requirements_of("edgekd", None if name == CORE else name))
    packages = tuple(
        _package(requirement) for requirement in needed if requirement.name != "edgekd"
    )
    complete = all(package.fits for package in packages)
    what = "edgekd" if name == CORE else f"edgekd[{name}]"
    return Extra(
        name=name,
        complete=complete,
        install=None if complete else f"{sys.executable} -m pip install '{what}'",
        packages=packages,
    )


def _package(requirement: Requirement) -> Package:
    installed = installed_version(requirement.name)
    return Package(
        name=requirement.name,
        wanted=str(requirement.specifier),
        installed=installed,
        fits=installed is not None and requirement.specifier.contains(installed, prereleases=True),
    )


def _conflicts(packages: list[str]) -> Iterator[str]:
    """Requirements of the installed packages that the other installed packages do not meet."""
    for name in packages:
        for requirement in requirements_of(name):
            needed = _package(requirement)
            if needed.installed is not None and not needed.fits:
                yield (
                    f"{name} {installed_version(name)} needs {needed.name}{needed.wanted}, found "
                    f"{needed.installed}: pip install '{needed.name}{needed.wanted}'"
                )


def _torn_pair() -> Iterator[str]:
    """Torch and torchvision of different builds, such as ``+cpu`` with none, do not import."""
    found = [installed_version(name) for name in _TORCH_PAIR]
    builds = {(release or "").partition("+")[2] for release in found}
    if None not in found and len(builds) > 1:
        pair = " and ".join(f"{n} {v}" for n, v in zip(_TORCH_PAIR, found, strict=True))
        yield f"{pair} are different builds and will not import: install both from the same index"


def _machine_sheet(findings: Findings) -> Sheet:
    threads = ", ".join(f"{k}={v}" for k, v in findings.thread_variables.items())
    return Sheet(
        "",
        ("machine", ""),
        (
            ("edgekd", findings.edgekd),
            ("python", findings.python),
            ("platform", findings.platform),
            ("CPUs", f"{findings.usable_cpus} usable of {findings.cpu_count or 'unknown'}"),
            ("thread variables", threads or "none set"),
        ),
    )


def _extras_sheet(findings: Findings) -> Sheet:
    rows = tuple(
        (extra.name, package.name, package.wanted, package.installed or "missing", _state(package))
        for extra in findings.extras
        for package in extra.packages
    )
    return Sheet("", ("extra", "package", "wanted", "installed", ""), rows)


def _tools_sheet(findings: Findings) -> Sheet:
    rows = tuple((tool.name, tool.found or "absent", tool.used_for) for tool in findings.tools)
    return Sheet("", ("beside Python", "", "used"), rows)


def _state(package: Package) -> str:
    if package.installed is None:
        return "install it"
    return "ok" if package.fits else "another version is wanted"
