"""``.npz`` files: images as ``x`` or sensor windows as ``x_<name>``, labels as ``y``.

========================  =======================================================================
``x`` / ``images``        ``(N, H, W)`` or ``(N, H, W, C)`` with 1, 3 or 4 channels; 4 is RGBA
``x_<name>``              ``(N, C, T)``, one array per modality, numbers of any kind
``y`` / ``labels``        ``(N,)``, integers or text
``split``                 ``(N,)`` text, optional: train, val or test
``class_names``           ``(K,)`` text, optional, for integer labels 0 to K - 1
(any name)                ``(N,)``, chosen by ``recipe.group``: rows that stay in one split
========================  =======================================================================

Pickled objects are never loaded. The range of image values follows from the type, and of floats
from the whole array, never from one image:
see :func:`edgekd.data.arrays.to_uint8`.
"""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.config import DataRecipe
from edgekd.console import Console
from edgekd.data.arrays import (
    Arrays,
    ArraySignals,
    digest_rows,
    image_contents,
    refuse_nan,
    to_uint8,
)
from edgekd.data.dataset import Contents, Indices
from edgekd.data.splits import SPLIT_SPELLINGS
from edgekd.data.store import refuse_bomb
from edgekd.errors import DataError
from edgekd.records import SplitName

_NAMES: Final = ("x", "images", "y", "labels", "split", "class_names")


def open_npz(path: Path, recipe: DataRecipe, console: Console) -> Contents:
    """Open an ``.npz``.

    Raises:
        DataError: If it is damaged, holds objects, NaN or infinite values, or arrays whose names,
            shapes or lengths are not as described above.
    """
    arrays = _read(path, recipe.group)
    labels, class_names = _labels(arrays, path)
    signals = {name[2:]: a for name, a in arrays.items() if name.startswith("x_") and name != "x_"}
    images = _pick(arrays, ("x", "images"), path)
    if (images is None) == (not signals):
        found = "both" if signals else f"neither, but {', '.join(arrays) or 'nothing'}"
        raise DataError(f"{path}: expected either images 'x' or signals 'x_<name>', found {found}")
    for name, array in {**signals, "images": labels if images is None else images}.items():
        if len(array) != len(labels):
            raise DataError(f"{path}: {name} has {len(array)} rows, the labels {len(labels)}")
    common: dict[str, Any] = {
        "names": tuple(f"{path.name}[{row}]" for row in range(len(labels))),
        "labels": labels,
        "class_names": class_names,
        "given_splits": _splits(arrays, len(labels), path),
        "groups": _groups(arrays, recipe.group, len(labels), path),
    }
    if images is not None:
        return image_contents(to_uint8(images, source=str(path), console=console), **common)
    _check_signals(signals, path)
    return Contents(
        kind="signal",
        reader=ArraySignals(signals),
        digests=digest_rows(signals.values()),
        modalities={name: (a.shape[1], a.shape[2]) for name, a in signals.items()},
        **common,
    )


def _read(path: Path, group: str | None) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            refuse_bomb(sum(info.file_size for info in archive.infolist()), path)
        with np.load(path, allow_pickle=False) as archive:
            wanted = [n for n in archive.files if n in (*_NAMES, group) or n.startswith("x_")]
            return {name: _as_array(archive[name], name, path) for name in wanted}
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except MemoryError as error:
        raise DataError(f"{path}: larger than the memory; use an image folder") from error
    # numpy parses the header of each array as a Python literal and raises what that raises
    except (
        ValueError,
        SyntaxError,
        EOFError,
        KeyError,
        TypeError,
        NotImplementedError,
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


def _groups(arrays: Arrays, name: str | None, count: int, path: Path) -> tuple[str, ...] | None:
    return None if name is None else tuple(_column(arrays, name, count, path))


def _column(arrays: Arrays, name: str, count: int, path: Path) -> list[str]:
    if name not in arrays or arrays[name].shape != (count,):
        found = arrays[name].shape if name in arrays else f"only {', '.join(arrays)}"
        raise DataError(f"{path}: an array {name!r} of shape ({count},) expected; found {found}")
    return _text(arrays[name])


def _text(values: NDArray[Any]) -> list[str]:
    if values.dtype.kind == "S":
        return [value.decode("utf-8", "replace") for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def _check_signals(signals: Arrays, path: Path) -> None:
    for name, windows in signals.items():
        if windows.ndim != 3 or windows.dtype.kind not in "uif" or 0 in windows.shape:
            raise DataError(
                f"{path}: x_{name} is {windows.dtype} {windows.shape}; expected numbers (N, C, T)"
            )
        refuse_nan(windows, f"x_{name}", str(path))
