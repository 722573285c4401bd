"""What would make a trained model worthless without anybody noticing: said before training.

Errors: an empty split, one single class, a class that is never trained. Warnings, because real data
sets have some and only their owner can decide: the same content under two labels, the same content
in two splits, a class that val or test never asks for.
"""

from collections.abc import Sequence

from edgekd.console import Console
from edgekd.data.dataset import Contents
from edgekd.data.files import printable
from edgekd.errors import DataError
from edgekd.records import SplitName

_SHOWN = 5


def check_classes(contents: Contents, splits: Sequence[SplitName], console: Console) -> None:
    """Check that every split and every class can be trained and tested on.

    Raises:
        DataError: If there is only one class, a split is empty, or a class is not in train.
    """
    names = contents.class_names
    if len(names) < 2:
        raise DataError(f"one single class ({', '.join(names)}); at least two are needed")
    for split in ("train", "val", "test"):
        pairs = zip(contents.labels.tolist(), splits, strict=True)
        present = {label for label, its_split in pairs if its_split == split}
        if not present:
            raise DataError(f"the {split} split is empty; add samples or let edgekd split the data")
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
