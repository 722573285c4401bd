"""Where this machine keeps a user's settings and what can be fetched again."""

import os
import sys
from pathlib import Path


def config_folder() -> Path:
    """``~/.config/edgekd`` on Linux, and what other systems use in its place."""
    return _folder("XDG_CONFIG_HOME", "~/.config", mac="~/Library/Application Support")


def cache_folder() -> Path:
    """``~/.cache/edgekd`` on Linux, and what other systems use in its place."""
    return _folder("XDG_CACHE_HOME", "~/.cache", mac="~/Library/Caches")


def _folder(variable: str, default: str, *, mac: str) -> Path:
    if os.environ.get(variable):
        return Path(os.environ[variable]) / "edgekd"
    if sys.platform == "win32":
        default = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        default = mac
    return Path(default).expanduser() / "edgekd"
