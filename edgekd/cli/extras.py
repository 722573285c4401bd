"""A stage whose extra is not installed: one line that says what to type."""

from collections.abc import Iterator
from contextlib import contextmanager

from edgekd.errors import MissingExtraError


@contextmanager
def needs_extra(extra: str, *, purpose: str) -> Iterator[None]:
    """Wrap the import of a stage whose packages ``extra`` installs.

    Args:
        extra: For example ``"train"``.
        purpose: What the stage is for, as the object of "to": ``"train a network"``.

    Raises:
        MissingExtraError: If a package other than edgekd itself is not there to import.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "edgekd").partition(".")[0]
        if package == "edgekd":  # a module of ours: a bug, not a missing extra
            raise
        raise MissingExtraError(package, extra=extra, purpose=purpose) from error
