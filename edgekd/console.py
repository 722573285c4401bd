"""How a stage speaks to whoever runs it: lines, warnings and progress, without knowing a terminal.

The command line passes a console drawn with rich; a library user may pass nothing.
"""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Tracker(Protocol):
    """A running progress bar."""

    def advance(self, steps: int = 1) -> None:
        """Count ``steps`` more as done."""

    def describe(self, text: str) -> None:
        """Change the text beside the bar, for example to the current loss."""


class Console(Protocol):
    """What a stage may say while it works."""

    def info(self, text: str) -> None:
        """Say one line about what happens."""

    def warn(self, text: str) -> None:
        """Say one line that must not be missed."""

    def track(self, description: str, total: int, done: int = 0) -> AbstractContextManager[Tracker]:
        """Open a progress bar over ``total`` steps of which ``done`` are behind us."""


class SilentConsole:
    """For library use: no output, and warnings go through :mod:`warnings`."""

    def info(self, text: str) -> None:
        """Drop the line."""

    def warn(self, text: str) -> None:
        """Raise a :class:`UserWarning` through the standard machinery."""
        warnings.warn(text, UserWarning, stacklevel=3)

    @contextmanager
    def track(self, description: str, total: int, done: int = 0) -> Iterator[Tracker]:
        """Count without drawing."""
        yield _SilentTracker()


class _SilentTracker:
    def advance(self, steps: int = 1) -> None:
        pass

    def describe(self, text: str) -> None:
        pass
