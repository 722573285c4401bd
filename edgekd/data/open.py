"""Opening a data set: find out what it is, read it, split it, check it, fingerprint it."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from edgekd.config import DataRecipe
from edgekd.console import Console
from edgekd.data.checks import check_classes, check_duplicates, check_identities
from edgekd.data.cifar import ARCHIVES, open_cifar
from edgekd.data.dataset import Contents, Dataset, Samples
from edgekd.data.digits import open_digits
from edgekd.data.folder import open_folder, open_zip
from edgekd.data.manifest import open_manifest
from edgekd.data.npz import open_npz
from edgekd.data.roles import Roles
from edgekd.data.splits import assign_splits
from edgekd.errors import DataError
from edgekd.records import SplitName, Task

_SPLITS: Final[tuple[SplitName, ...]] = ("train", "val", "test")

BY_NAME: Final[Mapping[str, Callable[[DataRecipe, Console], Contents]]] = {
    "builtin:digits": open_digits,
    **{name: partial(open_cifar, archive) for name, archive in ARCHIVES.items()},
}
BY_SUFFIX: Final[Mapping[str, Callable[[Path, DataRecipe, Console], Contents]]] = {
    ".zip": open_zip,
    ".csv": open_manifest,
    ".npz": open_npz,
}


def open_dataset(recipe: DataRecipe, console: Console, *, task: Task = "classification") -> Dataset:
    """Open ``recipe.data`` and make sure that it can be trained and tested on.

    Every sample is read once here: a file that cannot be decoded is found now, not after hours.
    A name such as ``cifar10`` wins over a folder of that name; ``./cifar10`` is the folder.

    Args:
        recipe: Which data and how it is split.
        console: Hears what was found and what is doubtful.
        task: For retrieval the classes are identities: a manifest's ``identity`` column where it
            has one, and training, validation and test may have different ones.

    Raises:
        DataError: If there is no such data, or it is damaged, inconsistent or too small; warnings
            about doubtful samples go to the console.
        MissingExtraError: If a package is needed that is not installed.
    """
    contents = _read(recipe, console)
    if recipe.modalities and not recipe.data.lower().endswith(".npz"):
        raise DataError(
            f"{recipe.data}: has one modality; only an .npz has several to choose from, leave "
            "modalities out"
        )
    if task == "retrieval":
        contents = _by_identity(contents)
    _check_class_names(contents.class_names)
    check = check_identities if task == "retrieval" else check_classes
    try:
        splits = assign_splits(contents, recipe, task=task)
        check(contents, splits, console)
    except DataError as error:
        raise DataError(f"{recipe.data}: {error}") from error
    check_duplicates(contents, splits, console)
    dataset = _assemble(_trained_first(contents, splits), splits, recipe.data)
    console.info(f"{recipe.data}: {_counts(dataset, task)}")
    return dataset


def fingerprint(
    digests: Sequence[bytes],
    labels: Sequence[str],
    splits: Sequence[SplitName],
    roles: Roles | None = None,
) -> str:
    """Hex sha256 over what is in a data set, whatever the files are called and where they lie."""
    ends = [""] * len(labels) if roles is None else [f" {word}" for word in roles.words()]
    rows = zip(splits, digests, labels, ends, strict=True)
    lines = sorted(f"{split} {digest.hex()} {label}{end}\n" for split, digest, label, end in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _by_identity(contents: Contents) -> Contents:
    """Identities as classes, where they have a column of their own."""
    if contents.identities is None:
        return contents
    return replace(contents, labels=contents.identities, class_names=contents.identity_names)


def _trained_first(contents: Contents, splits: Sequence[SplitName]) -> Contents:
    """Labels renumbered so that the classes of train are 0, 1, ..., in the order they had."""
    in_train = np.array([split == "train" for split in splits])
    trained = np.unique(contents.labels[in_train])
    others = np.setdiff1d(np.arange(len(contents.class_names)), trained)
    order = np.concatenate([trained, others])
    renumbered = np.empty_like(order)
    renumbered[order] = np.arange(len(order))
    return replace(
        contents,
        labels=renumbered[contents.labels],
        class_names=tuple(contents.class_names[label] for label in order),
    )


def _counts(dataset: Dataset, task: Task) -> str:
    """How much there is, for a line of the log."""
    if task == "classification":
        parts = (f"{name} {len(samples)}" for name, samples in dataset.splits.items())
        return f"{len(dataset.class_names)} classes; {', '.join(parts)}"
    return ", ".join(
        f"{name} {len(samples)} of {len(np.unique(samples.labels))} identities"
        for name, samples in dataset.splits.items()
    )


def _read(recipe: DataRecipe, console: Console) -> Contents:
    if recipe.train_folder is not None and not _has_folders(recipe.data):
        raise DataError(
            f"{recipe.data}: has no folders to be train_folder {recipe.train_folder!r}; a manifest "
            "or array has a column split"
        )
    if recipe.data in BY_NAME:
        contents = BY_NAME[recipe.data](recipe, console)
        if recipe.group is not None:
            raise DataError(f"{recipe.data} has no column {recipe.group!r}; leave out group")
        return contents
    path = Path(recipe.data)
    known = f"a folder, {', '.join(BY_SUFFIX)}, {', '.join(BY_NAME)}"
    if path.is_dir():
        return open_folder(path, recipe, console)
    if not path.is_file():
        raise DataError(f"{recipe.data}: no such file or folder; expected {known}")
    opener = BY_SUFFIX.get(path.suffix.lower())
    if opener is None:
        raise DataError(f"{recipe.data}: unknown kind of file {path.suffix!r}; expected {known}")
    return opener(path, recipe, console)


def _has_folders(data: str) -> bool:
    path = Path(data)
    return data not in BY_NAME and (path.is_dir() or path.suffix.lower() == ".zip")


def _check_class_names(names: Sequence[str]) -> None:
    for name in names:
        if not name.isprintable() or not name.strip():
            raise DataError(f"class name {name!r}: empty or with control characters; rename it")
    if len(set(names)) != len(names):
        raise DataError("two classes of the same name; rename one")


def _assemble(contents: Contents, splits: Sequence[SplitName], source: str) -> Dataset:
    labels = [contents.class_names[label] for label in contents.labels]
    # By content, so that the same fingerprint means the same samples in the same order.
    order = sorted(range(len(labels)), key=lambda row: (contents.digests[row], labels[row]))
    return Dataset(
        source=source,
        kind=contents.kind,
        class_names=contents.class_names,
        splits={
            name: _samples(contents, name, [row for row in order if splits[row] == name])
            for name in _SPLITS
        },
        modalities=contents.modalities,
        fingerprint=fingerprint(contents.digests, labels, splits, contents.roles),
        skipped_files=contents.skipped,
    )


def _samples(contents: Contents, name: SplitName, chosen: Sequence[int]) -> Samples:
    rows = np.array(chosen, dtype=np.int64)
    return Samples(
        name=name,
        labels=contents.labels[rows],
        names=tuple(contents.names[row] for row in chosen),
        sizes=None if contents.sizes is None else contents.sizes[rows],
        identities=None if contents.identities is None else contents.identities[rows],
        cameras=None if contents.cameras is None else contents.cameras[rows],
        roles=None if contents.roles is None else contents.roles.at(rows),
        reader=contents.reader,
        rows=rows,
    )
