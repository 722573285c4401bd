"""One protocol over every runtime: encode, invoke, decode; only ``invoke`` is ever timed.

Standard library and numpy only: this package is what a board runs. A runtime is a module with
``version`` and ``open_session``, imported when a file of its format is opened.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import BundleError, MissingExtraError
from edgekd.runtimes.encoding import InputEncoding, TensorInfo

Array = NDArray[Any]

Arrays = Mapping[str, Array]
"""Of the inputs of a file, by name, or whatever else has names."""


class Session(Protocol):
    """A loaded model with a fixed number of threads.

    The timed path is ``invoke``: from the file's own input arrays to its own output arrays.
    """

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What the file takes, in its own order."""

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """What the file gives; the first is the logits."""

    def encode(self, samples: Sequence[Array]) -> dict[str, Array]:
        """Decoded samples (uint8 ``(n, H, W, C)`` or float32 ``(n, C, T)``) as the file's inputs.

        Raises:
            BundleError: If the file does not take what its encodings say.
        """

    def invoke(self, feeds: Mapping[str, Array]) -> list[Array]:
        """One inference; arrays in the file's own types and layouts."""

    def decode(self, outputs: Sequence[Array]) -> NDArray[np.float32]:
        """The first output as float32 logits ``(n, K)``, dequantized where it is quantized."""

    def precision(self) -> str:
        """What the file computes in, read from its operators (:mod:`edgekd.runtimes.precision`)."""


class Runtime(Protocol):
    """What a runtime's module offers."""

    def version(self) -> str:
        """The runtime's own version."""

    def open_session(
        self, path: Path, *, num_threads: int, encodings: Sequence[InputEncoding]
    ) -> Session:
        """Load ``path``; exactly ``num_threads`` threads compute."""


@dataclass(frozen=True, kw_only=True)
class RuntimeEntry:
    """Where a runtime lives and which package and extra it needs."""

    name: str
    module: str
    package: str
    extra: str
    purpose: str


RUNTIMES: Final[Mapping[str, RuntimeEntry]] = {
    "onnx": RuntimeEntry(
        name="onnxruntime",
        module="edgekd.runtimes.onnx_runtime",
        package="onnxruntime",
        extra="bench",
        purpose="run ONNX files",
    ),
    "tflite": RuntimeEntry(
        name="litert",
        module="edgekd.runtimes.litert",
        package="ai-edge-litert",
        extra="bench",
        purpose="run TFLite files",
    ),
    # The baseline row: a bundle folder run by torch. It lives where torch may be imported.
    "torch": RuntimeEntry(
        name="torch",
        module="edgekd.evaluate.torch_session",
        package="torch",
        extra="train",
        purpose="run a bundle with torch",
    ),
}
"""Format of a file -> the runtime that runs it."""


def load_runtime(model_format: str) -> Runtime:
    """Import the runtime of a format, and with it everything but the model.

    Raises:
        BundleError: If no runtime runs that format.
        MissingExtraError: If the runtime's package is not installed.
    """
    entry = RUNTIMES.get(model_format)
    if entry is None:
        raise BundleError(f"no runtime runs {model_format!r} files; known: {', '.join(RUNTIMES)}")
    try:
        return cast(Runtime, importlib.import_module(entry.module))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("edgekd"):
            raise  # a bug of ours, not a missing package
        raise missing_runtime(model_format) from error


def missing_runtime(model_format: str) -> MissingExtraError:
    """The error that says which extra installs the runtime of a known format."""
    entry = RUNTIMES[model_format]
    return MissingExtraError(entry.package, extra=entry.extra, purpose=entry.purpose)


def format_of(path: Path) -> str:
    """The format a path's suffix names: ``onnx``, ``tflite``, or ``torch`` for a folder.

    >>> format_of(Path("student.int8.onnx"))
    'onnx'

    Raises:
        BundleError: For any other suffix.
    """
    if path.is_dir():
        return "torch"
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in RUNTIMES:
        raise BundleError(f"{path}: expected a .onnx or .tflite file or a bundle folder")
    return suffix


def open_session(
    path: Path, *, num_threads: int, encodings: Sequence[InputEncoding] = ()
) -> Session:
    """Load a model file (or, for the baseline, a bundle folder) for inference.

    Args:
        path: A ``.onnx`` or ``.tflite`` file, or a bundle folder.
        num_threads: Threads that compute, >= 1; the same meaning in every runtime.
        encodings: One per input, needed only by ``encode``.

    Raises:
        BundleError: If the file is missing, damaged, or does not fit its encodings.
        MissingExtraError: If its runtime is not installed.
        ValueError: If ``num_threads`` < 1.
    """
    if num_threads < 1:
        raise ValueError(f"num_threads must be >= 1, found {num_threads}")
    if not path.exists():
        raise BundleError(f"{path}: no such file; expected a model that edgekd export wrote")
    runtime = load_runtime(format_of(path))
    return runtime.open_session(path, num_threads=num_threads, encodings=encodings)


@contextmanager
def reporting_runtime_errors(path: Path, runtime: str, verb: str) -> Iterator[None]:
    """Turn whatever a runtime raises about ``path`` into one line for the user.

    Runtimes raise types of their own, bare ``RuntimeError`` or ``ValueError``; inside the block
    there must be nothing but the runtime's own calls.

    Raises:
        BundleError: For any exception inside the block.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BundleError(
            f"{path}: {runtime} cannot {verb} it ({reason}); "
            "the file is damaged or needs another runtime version: export it again"
        ) from error
