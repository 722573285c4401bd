"""What is needed to repeat a run: versions, commit, machine."""

import datetime
import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Final

import edgekd

_PACKAGES: Final = ("torch", "torchvision", "timm", "lightning-fabric", "numpy", "pillow")


def versions() -> dict[str, str]:
    """Versions of edgekd, Python and the packages that shape a training run."""
    found = {"edgekd": edgekd.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def source_commit() -> str | None:
    """The commit of edgekd's own checkout, with ``+`` if it was changed; ``None`` if installed."""
    root = Path(edgekd.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def machine() -> str:
    """Processor model and architecture, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor() or "unknown processor"
    return f"{name}, {platform.machine()}"


def now() -> str:
    """The present time in ISO 8601, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
