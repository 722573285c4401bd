"""What would make a trained model worthless without anybody noticing: said before training.

Errors: an empty split, one single class, a class that is never trained; for retrieval, a split in
which nothing can be found. Warnings, because real data sets have some and only their owner can
decide: the same content under two labels, the same content in two splits, a class that val or test
never asks for.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from edgekd.console import Console
from edgekd.data.dataset import Contents, Indices
from edgekd.data.files import printable
from edgekd.data.roles import find_something
from edgekd.errors import DataError
from edgekd.records import SplitName, Task

_SHOWN = 5
_SPLITS: Final[tuple[SplitName, ...]] = ("train", "val", "test")
_SINGLES: Final[Mapping[Task, tuple[str, str, str, str]]] = {
    "classification": ("sample", "class", "classes", "what is learned from so few says little"),
    "retrieval": ("image", "identity", "identities", "it is compared with itself alone"),
}


def check_classes(contents: Contents, splits: Sequence[SplitName], console: Console) -> None:
    """Check that every split and every class can be trained and tested on.

    Raises:
        DataError: If there is only one class, a split is empty, or a class is not in train.
    """
    names = contents.class_names
    if len(names) < 2:
        raise DataError(f"one single class ({', '.join(names)}); at least two are needed")
    for split in _SPLITS:
        present = _present(contents, splits, split)
        missing = [name for label, name in enumerate(names) if label not in present]
        if missing and split == "train":
            raise DataError(
                f"{_count(missing, 'class', 'classes')} without a training sample: "
                f"{_list(missing)}; add samples or remove it from the other splits"
            )
        if missing:
            console.warn(
                f"{split} has no sample of {_count(missing, 'class', 'classes')}: "
                f"{_list(missing)}; figures on {split} say nothing about it"
            )


def check_identities(contents: Contents, splits: Sequence[SplitName], console: Console) -> None:
    """Check that identities can be told apart in train and found in val and test.

    Val and test may have identities that train has not. A sample is a query only where another
    one of its identity can be found: of another camera, where cameras are known, and in the
    gallery, where samples have roles.

    Raises:
        DataError: If a split is empty, train has one single identity, or val or test has no query.
    """
    trained = _present(contents, splits, "train")
    if len(trained) < 2:
        (name,) = (contents.class_names[label] for label in trained)
        raise DataError(f"one single identity in train ({name}); at least two are needed")
    rows = np.array([split == "train" for split in splits])
    tell_singles(contents.labels[rows], contents.class_names, "retrieval", console)
    for split in _SPLITS[1:]:
        _present(contents, splits, split)
        _tell_queries(contents, splits, split, console)


def _tell_queries(
    contents: Contents, splits: Sequence[SplitName], split: SplitName, console: Console
) -> None:
    queries = count_queries(contents, splits, split)
    rows = np.array([its_split == split for its_split in splits])
    other = "another image" if contents.cameras is None else "an image of another camera"
    if contents.roles is None:
        total, one, many = int(rows.sum()), f"sample of {split} has {other}", "samples"
        remedy, fate = "", "are searched through but ask nothing"
    else:
        total = int(contents.roles.is_query[rows].sum())
        one, many = f"query of {split} has {other} in the gallery that is", "queries"
        remedy, fate = ", or its samples the role both", "count in no metric"
    if queries == 0:
        raise DataError(
            f"no {one} of its identity, so nothing can be found there; add images, or give the "
            f"data another split{remedy}"
        )
    if queries < total:
        console.info(
            f"{split}: {total - queries} of {total} {many} have no image of their identity that "
            f"they could find; they {fate}"
        )


def count_queries(contents: Contents, splits: Sequence[SplitName], split: SplitName) -> int:
    """How many samples of a split have something to find in it."""
    rows = np.array([its_split == split for its_split in splits])
    cameras = None if contents.cameras is None else contents.cameras[rows]
    roles = None if contents.roles is None else contents.roles.at(rows)
    return int(find_something(contents.labels[rows], cameras, roles).sum())


def tell_singles(labels: Indices, names: Sequence[str], task: Task, console: Console) -> None:
    """Warn about classes, or identities, of which there is one sample to learn from.

    Args:
        labels: ``(N,)``, of the training samples.
        names: Of all classes or identities.
        task: Which of them they are.
        console: Told, where there are any.
    """
    counts = Counter(labels.tolist())
    single = sorted(names[label] for label, count in counts.items() if count == 1)
    if single:
        sample, one, many, effect = _SINGLES[task]
        console.warn(
            f"train has one single {sample}{' each' * (len(single) > 1)} of "
            f"{_count(single, one, many)}: {_list(single)}; {effect}"
        )


def _present(contents: Contents, splits: Sequence[SplitName], split: SplitName) -> set[int]:
    """The classes of a split, which has some."""
    pairs = zip(contents.labels.tolist(), splits, strict=True)
    present = {label for label, its_split in pairs if its_split == split}
    if not present:
        raise DataError(f"the {split} split is empty; add samples or let edgekd split the data")
    return present


def check_duplicates(contents: Contents, splits: Sequence[SplitName], console: Console) -> None:
    """Warn about contents that contradict their label or leak from one split into another."""
    rows_of: dict[bytes, list[int]] = {}
    for row, digest in enumerate(contents.digests):
        rows_of.setdefault(digest, []).append(row)
    repeated = [rows for rows in rows_of.values() if len(rows) > 1]
    contradicting = [rows for rows in repeated if len({int(contents.labels[r]) for r in rows}) > 1]
    if contradicting:
        console.warn(
            f"{_count(contradicting, 'content', 'contents')} with different labels, for example "
            f"{_describe(contents, splits, contradicting)}; mend the labels or remove the samples"
        )
    leaking = [rows for rows in repeated if len({splits[r] for r in rows}) > 1]
    if leaking:
        console.warn(
            f"{_count(leaking, 'content', 'contents')} in more than one split, for example "
            f"{_describe(contents, splits, leaking)}; figures on held-out samples are too good"
        )


def _describe(contents: Contents, splits: Sequence[SplitName], repeated: list[list[int]]) -> str:
    examples = []
    for rows in repeated[:_SHOWN]:
        places = (
            f"{printable(contents.names[row])} ({contents.class_names[contents.labels[row]]}, "
            f"{splits[row]})"
            for row in rows[:3]
        )
        examples.append(" = ".join(places))
    return "; ".join(examples)


def _count(things: Sequence[object], one: str, many: str) -> str:
    return f"{len(things)} {one if len(things) == 1 else many}"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more
