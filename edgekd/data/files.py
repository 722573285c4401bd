"""Image files as samples: one pass that proves every file readable, then decoding on demand."""

import contextlib
import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from edgekd.console import Console
from edgekd.data.dataset import Indices
from edgekd.data.images import (
    Pixels,
    UnreadableFileError,
    check_image,
    decode_image,
    require_image,
)
from edgekd.data.store import FileStore
from edgekd.errors import DataError
from edgekd.records import InputSpec

_MAX_THREADS: Final = 4
_CHUNK: Final = 16  # files per task: less would cost more in hand-over than in decoding
# Below this, Pillow's Python code outweighs its C code, and threads only fight over the lock:
# 60,000 JPEGs of 1 kB took 6.7 s with one thread and 9.2 s with two; 17 kB is where two win.
_LARGE_FILE_BYTES: Final = 16 << 10

T = TypeVar("T")


class CheckedFiles(NamedTuple):
    """The files of a data set that can be read, in the order they were given.

    ``positions`` ``(N,)`` says which of the given names each one is; ``sizes`` ``(N, 2)`` holds
    height and width in pixels.
    """

    names: tuple[str, ...]
    positions: Indices
    digests: tuple[bytes, ...]
    sizes: Indices
    skipped: tuple[str, ...]


def check_files(
    store: FileStore, names: tuple[str, ...], *, max_bad_files: int, console: Console
) -> CheckedFiles:
    """Read, hash and decode every file once, so that nothing unreadable is met during training.

    Raises:
        DataError: If more than ``max_bad_files`` files cannot be read, or none can.
    """

    def check(index: int) -> tuple[bytes, tuple[int, int]] | UnreadableFileError:
        try:
            content = store.read(names[index])
            size = check_image(content, names[index])
        except UnreadableFileError as error:
            return error
        return hashlib.sha256(content).digest(), size

    threads = choose_threads(store, names)
    good: list[tuple[int, bytes, tuple[int, int]]] = []
    skipped: list[str] = []
    reasons: list[str] = []
    with console.track("Checking images", len(names)) as tracker:
        for index, result in enumerate(_in_threads(check, len(names), threads)):
            if isinstance(result, UnreadableFileError):
                skipped.append(result.name)
                reasons.append(printable(f"{result.name}: {result.reason}"))
                console.warn(f"skipped {reasons[-1]}")
                _refuse_too_many(skipped, max_bad_files)
            else:
                good.append((index, *result))
            tracker.advance()
    if skipped and not good:
        raise DataError(
            f"none of {len(names)} image file(s) can be read, the first is {reasons[0]}; "
            "expected whole JPEG, PNG or other image files"
        )
    return CheckedFiles(
        names=tuple(names[index] for index, _, _ in good),
        positions=np.array([index for index, _, _ in good], dtype=np.int64),
        digests=tuple(digest for _, digest, _ in good),
        sizes=np.array([size for _, _, size in good], dtype=np.int64).reshape(-1, 2),
        skipped=tuple(skipped),
    )


class FileImages:
    """Decodes image files of a store when asked; see :class:`edgekd.data.dataset.Reader`."""

    def __init__(self, store: FileStore, names: tuple[str, ...]) -> None:
        self._store = store
        self._names = names
        self._threads = choose_threads(store, names)

    def load(self, rows: Indices, spec: InputSpec) -> Pixels:
        """Decode ``rows`` to ``(n, H, W, C)``.

        Raises:
            DataError: If a file cannot be read any more, or ``spec`` asks for a signal.
        """
        image_spec = require_image(spec)
        out = np.empty(
            (len(rows), image_spec.height, image_spec.width, image_spec.channels), np.uint8
        )

        def decode(position: int) -> None:
            name = self._names[rows[position]]
            out[position] = decode_image(self._store.read(name), name, image_spec)

        for _ in _in_threads(decode, len(rows), self._threads):
            pass
        return out


def choose_threads(store: FileStore, names: tuple[str, ...]) -> int:
    """How many threads decode these files fastest: one where the files are small."""
    sample = names[:: max(1, len(names) // 16)]
    sizes = []
    for name in sample:
        with contextlib.suppress(UnreadableFileError):
            sizes.append(len(store.read(name)))
    if not sizes or float(np.median(sizes)) < _LARGE_FILE_BYTES:
        return 1
    return min(_MAX_THREADS, os.cpu_count() or 1)


def printable(text: str) -> str:
    r"""Text from a file name or file, safe for a terminal: control characters become ``?``.

    >>> printable("a\x1b[2Jb")
    'a?[2Jb'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _refuse_too_many(skipped: list[str], limit: int) -> None:
    if len(skipped) > limit:
        shown = ", ".join(printable(name) for name in skipped[:5])
        raise DataError(
            f"more than {limit} unreadable files (first: {shown}); "
            "mend or remove them, or raise --max-bad-files"
        )


def _in_threads(function: Callable[[int], T], count: int, threads: int) -> Iterator[T]:
    """``function(0) ... function(count - 1)`` in order, computed by ``threads`` threads."""

    def run(start: int) -> list[T]:
        return [function(index) for index in range(start, min(start + _CHUNK, count))]

    with _quiet_pillow():
        if threads < 2 or count <= _CHUNK:
            yield from map(function, range(count))
            return
        pool = ThreadPoolExecutor(threads)
        try:
            for results in pool.map(run, range(0, count, _CHUNK)):
                yield from results
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Pillow warns about odd metadata and large images; what matters is checked by us."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield
