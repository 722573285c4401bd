"""``.npz`` files: images as ``x`` or sensor windows as ``x_<name>``, labels as ``y``.

========================  =======================================================================
``x`` / ``images``        ``(N, H, W)`` or ``(N, H, W, C)`` with 1, 3 or 4 channels; 4 is RGBA
``x_<name>``              ``(N, C, T)``, one array per modality, numbers of any kind; lengths may
                          differ, and ``(N, C)`` is a vector: one time step
``y`` / ``labels``        ``(N,)``, integers or text
``split``                 ``(N,)`` text, optional: train, val or test
``class_names``           ``(K,)`` text, optional, for integer labels 0 to K - 1
(any name)                ``(N,)``, chosen by ``recipe.group``: rows that stay in one split
========================  =======================================================================

Images and signals may come together: then every sample has both.

Pickled objects are never loaded. The range of image values follows from the type, and of floats
from the whole array, never from one image:
see :func:`edgekd.data.arrays.to_uint8`.
"""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.config import DataRecipe
from edgekd.console import Console
from edgekd.data.arrays import (
    ArrayImages,
    ArrayMixed,
    Arrays,
    ArraySignals,
    digest_rows,
    image_contents,
    to_uint8,
)
from edgekd.data.dataset import Contents, Indices
from edgekd.data.files import printable
from edgekd.data.images import Pixels
from edgekd.data.signals import checked_signals
from edgekd.data.splits import SPLIT_SPELLINGS
from edgekd.data.store import refuse_bomb
from edgekd.errors import DataError
from edgekd.records import SplitName

_NAMES: Final = ("x", "images", "y", "labels", "split", "class_names")
_IMAGE: Final = "image"
"""Name of the images among the modalities."""


def open_npz(path: Path, recipe: DataRecipe, console: Console) -> Contents:
    """Open an ``.npz``.

    Raises:
        DataError: If it is damaged, holds objects, NaN or infinite values, or arrays whose names,
            shapes or lengths are not as described above.
    """
    arrays, others = _read(path, recipe.group)
    labels, class_names = _labels(arrays, path)
    signals = {name[2:]: a for name, a in arrays.items() if name.startswith("x_") and name != "x_"}
    images = _pick(arrays, ("x", "images"), path)
    if images is None and not signals:
        raise DataError(
            f"{path}: expected images 'x', signals 'x_<name>' or both, found neither, but "
            f"{', '.join(arrays) or 'nothing'}"
        )
    for name, array in {**signals, "images": labels if images is None else images}.items():
        if len(array) != len(labels):
            raise DataError(
                f"{path}: {name} has {len(array)} rows, the labels {len(labels)}; save as many of "
                "both, row n of one belonging to row n of the other"
            )
    common: dict[str, Any] = {
        "names": tuple(f"{path.name}[{row}]" for row in range(len(labels))),
        "labels": labels,
        "class_names": class_names,
        "given_splits": _splits(arrays, len(labels), path),
        "groups": _groups(arrays, recipe.group, len(labels), path, others),
    }
    if others and recipe.group is None:
        _tell_unread(others, path, console)
    pixels = None if images is None else to_uint8(images, source=str(path), console=console)
    windows = checked_signals(signals, path, console)
    # Over everything there is, so that a subset of the modalities is split as the whole.
    digests = digest_rows([*([] if pixels is None else [pixels]), *windows.values()])
    chosen = _chosen(recipe.modalities, pixels, windows, path)
    used = {name: windows[name] for name in chosen if name in windows}
    if pixels is None or _IMAGE not in chosen:
        return Contents(
            kind="signal",
            reader=ArraySignals(used),
            digests=digests,
            modalities={name: (a.shape[1], a.shape[2]) for name, a in used.items()},
            **common,
        )
    contents = replace(image_contents(pixels, **common), digests=digests)
    if not used:
        return contents
    return replace(
        contents,
        kind="mixed",
        reader=ArrayMixed(ArrayImages(pixels), ArraySignals(used)),
        modalities={name: (a.shape[1], a.shape[2]) for name, a in used.items()},
    )


def _chosen(
    wanted: tuple[str, ...], pixels: Pixels | None, windows: Arrays, path: Path
) -> tuple[str, ...]:
    """Names of the modalities to use, in the order of the file."""
    present = (*(() if pixels is None else (_IMAGE,)), *windows)
    unknown = [name for name in wanted if name not in present]
    if unknown:
        raise DataError(f"{path}: no modality {unknown[0]!r}; it has {', '.join(present)}")
    return tuple(name for name in present if name in wanted) if wanted else present


def _read(path: Path, group: str | None) -> tuple[dict[str, NDArray[Any]], tuple[str, ...]]:
    """The arrays that are used, and the names of the others."""
    try:
        with zipfile.ZipFile(path) as archive:
            refuse_bomb(sum(info.file_size for info in archive.infolist()), path)
        with np.load(path, allow_pickle=False) as archive:
            wanted = [n for n in archive.files if n in (*_NAMES, group) or n.startswith("x_")]
            others = tuple(name for name in archive.files if name not in wanted)
            return {name: _as_array(archive[name], name, path) for name in wanted}, others
    except DataError:
        raise
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); check the file and its rights"
        ) from error
    except MemoryError as error:
        raise DataError(f"{path}: larger than the memory; use an image folder") from error
    # numpy parses the header of each array as a Python literal and raises what that raises
    except (
        ValueError,
        SyntaxError,
        EOFError,
        KeyError,
        TypeError,
        RuntimeError,
        struct.error,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        reason = "holds Python objects" if "allow_pickle" in str(error) else "damaged or no .npz"
        raise DataError(f"{path}: {reason}; save plain arrays with numpy.savez") from error


def _as_array(value: Any, name: str, path: Path) -> NDArray[Any]:
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        raise DataError(f"{path}: {name} is no array with rows; save plain arrays with numpy.savez")
    return value


def _pick(arrays: Arrays, spellings: tuple[str, ...], path: Path) -> NDArray[Any] | None:
    found = [name for name in spellings if name in arrays]
    if len(found) > 1:
        raise DataError(f"{path}: holds {' and '.join(found)}; keep one of them")
    return arrays[found[0]] if found else None


def _labels(arrays: Arrays, path: Path) -> tuple[Indices, tuple[str, ...]]:
    labels = _pick(arrays, ("y", "labels"), path)
    if labels is None or labels.ndim != 1 or labels.dtype.kind not in "uibUS" or not len(labels):
        found = "none" if labels is None else f"{labels.dtype} {labels.shape}"
        raise DataError(
            f"{path}: labels 'y' of shape (N,), integers or text, expected; found {found}"
        )
    values, codes = np.unique(labels, return_inverse=True)
    names = tuple(_text(values))
    if "class_names" in arrays:
        if (
            labels.dtype.kind not in "ui"
            or values.min() < 0
            or values.max() >= len(arrays["class_names"])
        ):
            raise DataError(f"{path}: class_names needs integer labels from 0 to its length - 1")
        names = tuple(_text(arrays["class_names"][values.astype(np.int64)]))
    return codes.astype(np.int64), names


def _splits(arrays: Arrays, count: int, path: Path) -> tuple[SplitName, ...] | None:
    if "split" not in arrays:
        return None
    values = _column(arrays, "split", count, path)
    unknown = sorted({value for value in values if value.lower() not in SPLIT_SPELLINGS})
    if unknown:
        raise DataError(f"{path}: split {unknown[0]!r}; expected train, val or test")
    return tuple(SPLIT_SPELLINGS[value.lower()] for value in values)


def _groups(
    arrays: Arrays, name: str | None, count: int, path: Path, others: Sequence[str]
) -> tuple[str, ...] | None:
    if name is None:
        return None
    if name not in arrays:
        found = printable(", ".join((*arrays, *others)))
        raise DataError(f"{path}: no array {name!r} to group by; it has {found}")
    return tuple(_column(arrays, name, count, path))


def _tell_unread(others: Sequence[str], path: Path, console: Console) -> None:
    """Subjects whose windows are in train and in test make a metric look better than it is."""
    console.info(
        f"{path}: not used: {printable(', '.join(others))}; --group NAME keeps rows of equal "
        "values, as of one subject, in one split"
    )


def _column(arrays: Arrays, name: str, count: int, path: Path) -> list[str]:
    found = arrays[name].shape
    if found != (count,):
        raise DataError(f"{path}: an array {name!r} of shape ({count},) expected; found {found}")
    return _text(arrays[name])


def _text(values: NDArray[Any]) -> list[str]:
    if values.dtype.kind == "S":
        return [value.decode("utf-8", "replace") for value in values.tolist()]
    return [str(value) for value in values.tolist()]
