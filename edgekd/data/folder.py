"""Image folders and zips of them: which folder is a split and which is a class.

::

    signs/train/stop/1.jpg   signs/val/...   signs/test/...     splits of class folders
    signs/stop/1.jpg         signs/yield/2.jpg                  class folders alone

    omniglot/images_background/Greek/alpha/1.png                folders that the recipe names:
    omniglot/images_evaluation/Angelic/a/2.png                  train_folder and test_folder

Folders that hold everything else (``Dataset/`` in many a zip) do not count. A class is the path
below the split, so ``Latin/a`` and ``Greek/a`` are two classes; all must be equally deep, since
otherwise a class and a folder of classes could not be told apart.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from edgekd.config import DataRecipe
from edgekd.console import Console
from edgekd.data.dataset import Contents
from edgekd.data.files import FileImages, check_files, printable
from edgekd.data.splits import SPLIT_SPELLINGS
from edgekd.data.store import FileStore, FolderStore, ZipStore, walk_images
from edgekd.errors import DataError
from edgekd.records import SplitName

_NUM_NAMED: Final = 3  # of files that are left out


class Layout(NamedTuple):
    """Class of every file, and its split where the folders say so."""

    labels: tuple[str, ...]
    splits: tuple[SplitName, ...] | None


def open_folder(path: Path, recipe: DataRecipe, console: Console) -> Contents:
    """Open a folder of images.

    Raises:
        DataError: If it holds no images, its layout is ambiguous, or too many files are unreadable.
    """
    names, ignored = walk_images(path)
    return _open(FolderStore(path, names), ignored, path, recipe, console)


def open_zip(path: Path, recipe: DataRecipe, console: Console) -> Contents:
    """Open a zip of an image folder, without extracting it.

    Raises:
        DataError: As :func:`open_folder`, or if :class:`ZipStore` refuses the zip.
    """
    store = ZipStore(path)
    return _open(store, store.ignored, path, recipe, console)


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
    store: FileStore, ignored: Sequence[str], path: Path, recipe: DataRecipe, console: Console
) -> Contents:
    if not store.names:
        raise _no_images(path, ignored)
    if recipe.group is not None:
        raise DataError(
            f"{path}: group = {recipe.group!r}, but folders have no columns; use a CSV manifest"
        )
    names, layout = _layout(store.names, recipe, str(path), console)
    _tell(layout, ignored, path, console)
    files = check_files(store, names, max_bad_files=recipe.max_bad_files, console=console)
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


def _no_images(path: Path, ignored: Sequence[str]) -> DataError:
    found = "it holds no files"
    if ignored:
        found = f"only {len(ignored)} other file(s), the first is {printable(ignored[0])}"
    return DataError(
        f"{path}: no images found, {found}; expected .jpg, .png or other image files as "
        "CLASS/image.jpg, or train/CLASS/image.jpg and test/CLASS/image.jpg"
    )


def named_layout(
    names: Sequence[str], folders: Mapping[str, SplitName], source: str
) -> tuple[tuple[str, ...], Layout]:
    """Classes below the folders that a recipe names, and the files that lie there.

    A folder is named as it lies below what holds all images, or from the root of the data. One
    called ``val`` beside them is val.

    >>> files = ["d/bg/a/1.png", "d/eval/b/2.png", "d/more/c/3.png"]
    >>> named_layout(files, {"bg": "train", "eval": "test"}, "d.zip")
    (('d/bg/a/1.png', 'd/eval/b/2.png'), Layout(labels=('a', 'b'), splits=('train', 'test')))

    Args:
        names: Of all images.
        folders: The split of each folder.
        source: How to name the data in an error.

    Raises:
        DataError: If no image lies below one of the folders, or as :func:`infer_layout`.
    """
    validation = {name: split for name, split in SPLIT_SPELLINGS.items() if split == "val"}
    known = {**validation, **{name.strip("/"): split for name, split in folders.items()}}
    shared = _num_shared([name.split("/")[:-1] for name in names])
    found = [(name, *_below(name, shared, known)) for name in names]
    kept = [(name, split, classes) for name, split, classes in found if split is not None]
    for folder, split in folders.items():
        if split not in {its_split for _, its_split, _ in kept}:
            raise DataError(
                f"{source}: no image below {folder!r}, which is to be {split}; found "
                f"{', '.join(sorted({'/'.join(n.split('/')[: shared + 1]) for n in names})[:5])}"
            )
    _refuse_uneven([name for name, _, _ in kept], [classes for _, _, classes in kept], source)
    return tuple(name for name, _, _ in kept), Layout(
        labels=tuple("/".join(classes) for _, _, classes in kept),
        splits=tuple(split for _, split, _ in kept),
    )


def _below(
    name: str, shared: int, known: Mapping[str, SplitName]
) -> tuple[SplitName | None, list[str]]:
    """Split and class folders of one file; no split where it lies below no known folder."""
    whole = name.split("/")[:-1]
    for parts in (whole[shared:], whole):
        for folder, split in known.items():
            depth = folder.count("/") + 1
            if "/".join(parts[:depth]) == folder:
                return split, parts[depth:]
    return None, []


def _layout(
    names: tuple[str, ...], recipe: DataRecipe, source: str, console: Console
) -> tuple[tuple[str, ...], Layout]:
    if recipe.train_folder is None or recipe.test_folder is None:
        return names, infer_layout(names, source)
    folders: dict[str, SplitName] = {recipe.train_folder: "train", recipe.test_folder: "test"}
    kept, layout = named_layout(names, folders, source)
    if len(kept) < len(names):
        console.info(f"{source}: {len(names) - len(kept)} image(s) in other folders left out")
    return kept, layout


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


def _tell(layout: Layout, ignored: Sequence[str], path: Path, console: Console) -> None:
    if ignored:
        more = ", …" if len(ignored) > _NUM_NAMED else ""
        named = ", ".join(printable(name) for name in ignored[:_NUM_NAMED])
        console.info(f"{path}: {len(ignored)} file(s) that are no images left out: {named}{more}")
    if "/" in layout.labels[0]:
        console.warn(
            f"{path}: nested class folders, so a class is a whole path such as "
            f"{printable(layout.labels[0])!r}{_split_hint(layout)}"
        )


def _split_hint(layout: Layout) -> str:
    """Two outermost folders may well be a split of other names."""
    tops = sorted({label.split("/")[0] for label in layout.labels})
    if layout.splits is not None or len(tops) != 2:
        return ""
    first, second = map(printable, tops)
    return (
        f"; if {first} and {second} are a split, say which is which: --train-folder and "
        "--test-folder"
    )
