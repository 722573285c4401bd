"""The error tree: everything a user can cause, each with an exit code of its own.

::

    EdgekdError
    ├── UsageError            2   flags that are wrong or do not fit together
    ├── ConfigError           3   a recipe with problems (all of them listed)
    ├── DataError             4   a data set that cannot be opened or trained on
    ├── BundleError           5   a bundle or model file that is damaged or unknown
    ├── ParityError           6   an exported file that does not answer like its source
    ├── MissingExtraError     7   a package that an optional extra installs
    ├── ModelError            8   an architecture or teacher that cannot do what was asked
    ├── DivergenceError       9   a loss that became NaN or infinite
    ├── OutputError          10   a folder or file that cannot be written
    ├── DeviceError          11   a device that is unknown or cannot measure
    ├── ExportError          12   a converter that failed
    └── InterruptedRun      130   Ctrl-C, after a checkpoint was written

Anything that is not an :class:`EdgekdError` is a bug of edgekd and keeps its traceback (exit code
1). A message says what was found, what was expected and what to do, in one line.
"""

from typing import ClassVar


class EdgekdError(Exception):
    """A fault the user can mend; shown as one line, with ``exit_code`` as the process status."""

    exit_code: ClassVar[int] = 1


class UsageError(EdgekdError):
    """Flags or arguments that are wrong or do not fit together."""

    exit_code = 2


class ConfigError(EdgekdError):
    """A recipe with one or more problems; the message lists every one of them."""

    exit_code = 3


class DataError(EdgekdError):
    """A data set that cannot be opened, is inconsistent, or cannot be trained on."""

    exit_code = 4


class BundleError(EdgekdError):
    """A bundle, checkpoint or model file that is truncated, altered, or of an unknown schema."""

    exit_code = 5


class ParityError(EdgekdError):
    """An exported file whose outputs differ from its source by more than the gate allows."""

    exit_code = 6


class MissingExtraError(EdgekdError):
    """A package is not installed that one of edgekd's extras provides.

    Args:
        package: The package as pip knows it, for example ``"onnxruntime"``.
        extra: The extra that installs it, for example ``"bench"``.
        purpose: What it is needed for, as the object of "to": ``"run ONNX files"``.
    """

    exit_code = 7

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(
            f"{package} is not installed and is needed to {purpose}: pip install 'edgekd[{extra}]'"
        )


class ModelError(EdgekdError):
    """An architecture that does not exist, or a model that cannot do what was asked."""

    exit_code = 8


class DivergenceError(EdgekdError):
    """The training loss became NaN or infinite."""

    exit_code = 9


class OutputError(EdgekdError):
    """An output folder that is in use, cannot be written, or a disk that is full."""

    exit_code = 10


class DeviceError(EdgekdError):
    """A device that is unknown, unreachable, or cannot run the model."""

    exit_code = 11


class ExportError(EdgekdError):
    """A converter that failed; the message carries the end of its output."""

    exit_code = 12


class InterruptedRun(EdgekdError):  # noqa: N818 - the user asked for it; it is not an error of the run
    """Ctrl-C: the run stopped after a step with a checkpoint that ``--resume`` continues."""

    exit_code = 130
