"""Image folders and zips of them: which folder is a split and which is a class.

::

    signs/train/stop/1.jpg   signs/val/...   signs/test/...     splits of class folders
    signs/stop/1.jpg         signs/yield/2.jpg                  class folders alone

Folders that hold everything else (``Dataset/`` in many a zip) do not count. A class is the path
below the split, so ``Latin/a`` and ``Greek/a`` are two classes; all must be equally deep, since
otherwise a class and a folder of classes could not be told apart.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgekd.config import DataRecipe
from edgekd.console import Console
from edgekd.data.dataset import Contents
from edgekd.data.files import FileImages, check_files, printable
from edgekd.data.splits import SPLIT_SPELLINGS
from edgekd.data.store import FileStore, FolderStore, ZipStore, walk_images
from edgekd.errors import DataError
from edgekd.records import SplitName


class Layout(NamedTuple):
    """Class of every file, and its split where the folders say so."""

    labels: tuple[str, ...]
    splits: tuple[SplitName, ...] | None


def open_folder(path: Path, recipe: DataRecipe, console: Console) -> Contents:
    """Open a folder of images.

    Raises:
        DataError: If it holds no images, its layout is ambiguous, or too many files are unreadable.
    """
    names, num_ignored = walk_images(path)
    return _open(FolderStore(path, names), num_ignored, path, recipe, console)


def open_zip(path: Path, recipe: DataRecipe, console: Console) -> Contents:
    """Open a zip of an image folder, without extracting it.

    Raises:
        DataError: As :func:`open_folder`, or if :class:`ZipStore` refuses the zip.
    """
    store = ZipStore(path)
    return _open(store, store.num_ignored, path, recipe, console)


def infer_layout(names: Sequence[str], source: str) -> Layout:
    """Read classes and splits off the folders.

    >>> infer_layout(["d/test/a/1.png", "d/train/a/2.png", "d/train/b/3.png"], "d.zip")
    Layout(labels=('a', 'a', 'b'), splits=('test', 'train', 'train'))

    Raises:
        DataError: If an image lies in no class folder, classes lie at different depths, or split
            folders stand beside other folders.
    """
    folders = [name.split("/")[:-1] for name in names]
    outside = [name for name, folder in zip(names, folders, strict=True) if not folder]
    if outside:
        raise DataError(
            f"{source}: {printable(outside[0])} lies in no class folder; expected "
            "<class>/image or train/<class>/image"
        )
    shared = _num_shared(folders)
    inner = [folder[shared:] for folder in folders]
    has_splits = _has_splits({folder[0] for folder in inner}, source)
    classes = [folder[1:] if has_splits else folder for folder in inner]
    _refuse_uneven(names, classes, source)
    return Layout(
        labels=tuple("/".join(parts) for parts in classes),
        splits=tuple(SPLIT_SPELLINGS[f[0].lower()] for f in inner) if has_splits else None,
    )


def _open(
    store: FileStore, num_ignored: int, path: Path, recipe: DataRecipe, console: Console
) -> Contents:
    if not store.names:
        found = f"{num_ignored} other file(s)" if num_ignored else "nothing"
        raise DataError(
            f"{path}: no images found, {found}; expected <class>/image or train/<class>"
        )
    if recipe.group is not None:
        raise DataError(
            f"{path}: group = {recipe.group!r}, but folders have no columns; use a CSV manifest"
        )
    layout = infer_layout(store.names, str(path))
    _tell(layout, num_ignored, path, console)
    files = check_files(store, store.names, max_bad_files=recipe.max_bad_files, console=console)
    class_names, labels = np.unique(np.array(layout.labels, dtype=object), return_inverse=True)
    return Contents(
        kind="image",
        reader=FileImages(store, files.names),
        names=files.names,
        labels=labels[files.positions].astype(np.int64),
        class_names=tuple(str(name) for name in class_names),
        digests=files.digests,
        given_splits=layout.splits and tuple(layout.splits[i] for i in files.positions),
        sizes=files.sizes,
        skipped=files.skipped,
    )


def _num_shared(folders: Sequence[Sequence[str]]) -> int:
    """How many leading folders hold everything, leaving at least one folder to each image."""
    most = min(len(folder) for folder in folders) - 1
    levels = enumerate(zip(*folders, strict=False))
    return next((level for level, tops in levels if level == most or len(set(tops)) > 1), most)


def _has_splits(tops: set[str], source: str) -> bool:
    known = {top for top in tops if top.lower() in SPLIT_SPELLINGS}
    if len(known) >= 2 and known != tops:
        raise DataError(
            f"{source}: {', '.join(sorted(tops - known))} beside {', '.join(sorted(known))}; "
            "expected either split folders or class folders"
        )
    return len(known) >= 2


def _refuse_uneven(names: Sequence[str], classes: Sequence[Sequence[str]], source: str) -> None:
    by_depth = {len(parts): printable(name) for name, parts in zip(names, classes, strict=True)}
    if 0 in by_depth:
        raise DataError(f"{source}: {by_depth[0]} lies in a split folder but in no class folder")
    if len(by_depth) > 1:
        examples = " and ".join(by_depth[depth] for depth in sorted(by_depth))
        raise DataError(
            f"{source}: class folders at different depths, for example {examples}; "
            "move all to one depth"
        )


def _tell(layout: Layout, num_ignored: int, path: Path, console: Console) -> None:
    if num_ignored:
        console.info(f"{path}: {num_ignored} file(s) that are no images left out")
    if "/" in layout.labels[0]:
        console.warn(
            f"{path}: nested class folders, so a class is a whole path such as "
            f"{printable(layout.labels[0])!r}"
        )
