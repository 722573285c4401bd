"""Who trains, who validates, who tests: given by the data, or drawn by content.

Drawing depends on contents and labels alone: not on file names, their order, or a seed. The same
photo under two names never lands in two splits.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from edgekd.config import DataRecipe
from edgekd.data.dataset import Contents
from edgekd.errors import DataError
from edgekd.records import SplitName, Task

SPLIT_SPELLINGS: Final[Mapping[str, SplitName]] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

Fractions = Mapping[SplitName, float]
K = TypeVar("K", str, bytes)


def assign_splits(
    contents: Contents, recipe: DataRecipe, *, task: Task = "classification"
) -> tuple[SplitName, ...]:
    """The split of every row.

    What the data brings is kept. Where it brings nothing, or training rows only, val and test are
    drawn with ``recipe.split``. Where only val is missing it is drawn off train with
    ``recipe.val_fraction``, and where only test is missing with the second of ``recipe.split``, so
    that a figure on test never comes from samples that chose the model.

    Rows are drawn class by class and every class gets into every split; with ``recipe.group``,
    whole groups are drawn instead and classes fall as they may. For retrieval each identity (the
    class there) is such a group: what is looked for must not be known from training.

    ``recipe.test_groups`` and ``recipe.val_groups`` name whole groups instead, for leaving
    subjects out.

    Raises:
        DataError: If there are too few distinct samples of a class (or too few groups) to draw
            from, no training rows, a group in two splits, or a named group is not there.
    """
    if recipe.test_groups:
        return _leave_groups_out(contents, recipe)
    given = contents.given_splits
    val, test = recipe.split
    groups = contents.groups
    if groups is None and task == "retrieval":
        groups = tuple(contents.class_names[label] for label in contents.labels)
    if given is None or set(given) == {"train"}:
        everything: list[SplitName] = ["train"] * len(contents.labels)
        return _draw(contents, everything, groups, {"val": val, "test": test})
    if "train" not in given:
        raise DataError(f"no training samples, only {', '.join(sorted(set(given)))}; add train")
    _refuse_straddling(contents.groups, given)
    missing: dict[SplitName, float] = {}
    if "val" not in given:
        missing["val"] = recipe.val_fraction
    if "test" not in given:
        missing["test"] = test
    return _draw(contents, list(given), groups, missing)


def _leave_groups_out(contents: Contents, recipe: DataRecipe) -> tuple[SplitName, ...]:
    """The named groups for test and val, the others for train; val is drawn where not named."""
    groups = contents.groups
    if groups is None:
        raise DataError("has no groups to leave out; test_groups needs a column")
    if contents.given_splits is not None:
        raise DataError("brings a split of its own; leave test_groups out")
    named = {**dict.fromkeys(recipe.val_groups, "val"), **dict.fromkeys(recipe.test_groups, "test")}
    unknown = sorted(named.keys() - set(groups))
    if unknown:
        raise DataError(
            f"no group {unknown[0]!r} in {recipe.group}; it has {', '.join(sorted(set(groups)))}"
        )
    splits: list[SplitName] = [_named_split(named.get(group)) for group in groups]
    if "train" not in splits:
        raise DataError("every group is val or test; leave some for train")
    missing: dict[SplitName, float] = {} if recipe.val_groups else {"val": recipe.val_fraction}
    return _draw(contents, splits, groups, missing)


def _named_split(name: str | None) -> SplitName:
    return SPLIT_SPELLINGS[name] if name is not None else "train"


def _draw(
    contents: Contents,
    splits: list[SplitName],
    groups: Sequence[str] | None,
    fractions: Fractions,
) -> tuple[SplitName, ...]:
    """Move rows off train until each split of ``fractions`` has its share of it."""
    if not fractions:
        return tuple(splits)
    rows = [row for row, split in enumerate(splits) if split == "train"]
    if groups is not None:
        kind = "identities" if contents.groups is None else "group(s)"
        drawn = _draw_groups([groups[row] for row in rows], fractions, kind)
        chosen = {row: drawn[groups[row]] for row in rows}
    else:
        by_content = _draw_contents(contents, rows, fractions)
        chosen = {row: by_content[contents.digests[row]] for row in rows}
    for row, split in chosen.items():
        splits[row] = split
    return tuple(splits)


def _draw_groups(groups: Sequence[str], fractions: Fractions, kind: str) -> dict[str, SplitName]:
    ordered = sorted(set(groups), key=lambda group: hashlib.sha256(group.encode()).digest())
    if len(ordered) < len(fractions) + 1:
        raise DataError(
            f"{len(ordered)} {kind}, at least {len(fractions) + 1} are needed to split by them; "
            "give the data a split, or more of them"
        )
    return _deal(ordered, fractions)


def _draw_contents(
    contents: Contents, rows: Sequence[int], fractions: Fractions
) -> dict[bytes, SplitName]:
    by_class: dict[int, set[bytes]] = {}
    for row in rows:
        by_class.setdefault(int(contents.labels[row]), set()).add(contents.digests[row])
    drawn: dict[bytes, SplitName] = {}
    for label, digests in sorted(by_class.items()):
        # A content that also carries an earlier class's label keeps the split it got there.
        ordered = sorted(digests - drawn.keys())
        if len(ordered) < len(fractions) + 1:
            raise DataError(
                f"class {contents.class_names[label]!r} has {len(ordered)} distinct sample(s), at "
                f"least {len(fractions) + 1} are needed to split the data; add some, or remove it"
            )
        drawn |= _deal(ordered, fractions)
    return drawn


def _deal(ordered: Sequence[K], fractions: Fractions) -> dict[K, SplitName]:
    """Give each split its share of ``ordered``, at least one, and leave at least one to train."""
    left = list(ordered)
    dealt: dict[K, SplitName] = {}
    for done, (split, fraction) in enumerate(fractions.items(), start=1):
        spare = len(left) - 1 - (len(fractions) - done)  # one each for the splits still to come
        take = min(spare, max(1, math.floor(fraction * len(ordered) + 0.5)))
        dealt |= dict.fromkeys(left[:take], split)
        left = left[take:]
    return dealt | dict.fromkeys(left, "train")


def _refuse_straddling(groups: Sequence[str] | None, splits: Sequence[SplitName]) -> None:
    seen: dict[str, SplitName] = {}
    for group, split in zip(groups or (), splits, strict=False):
        if seen.setdefault(group, split) != split:
            raise DataError(
                f"group {group!r} is in {seen[group]} and in {split}; the given split must keep "
                "groups together, or leave it out"
            )
