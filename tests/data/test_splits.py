from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.config import DataRecipe
from edgekd.data.arrays import ArraySignals
from edgekd.data.dataset import Contents
from edgekd.data.splits import assign_splits
from edgekd.errors import DataError


def contents(labels, digests=None, given_splits=None, groups=None) -> Contents:
    return Contents(
        kind="image",
        reader=ArraySignals({}),
        names=tuple(map(str, range(len(labels)))),
        labels=np.array(labels),
        class_names=tuple(f"class {i}" for i in range(max(labels) + 1)),
        digests=tuple(digests or (bytes([i // 256, i % 256]) for i in range(len(labels)))),
        given_splits=given_splits,
        groups=groups,
    )


def recipe(**fields) -> DataRecipe:
    return DataRecipe(data="x", **fields)


def test_the_lowest_digests_of_each_class_are_held_out():
    # Twenty distinct rows per class: 0.15 of 20 is 3 for val and 3 for test.
    splits = assign_splits(contents([0] * 20 + [1] * 20), recipe())
    for start in (0, 20):
        assert splits[start : start + 20] == ("val",) * 3 + ("test",) * 3 + ("train",) * 14


def test_the_order_of_rows_does_not_matter():
    labels, order = [0] * 10 + [1] * 10, np.random.default_rng(0).permutation(20)
    digests = [bytes([i]) for i in range(20)]
    plain = assign_splits(contents(labels, digests), recipe())
    mixed = assign_splits(
        contents([labels[i] for i in order], [digests[i] for i in order]), recipe()
    )
    assert [plain[i] for i in order] == list(mixed)


def test_val_is_taken_off_train_alone():
    given_splits = ("train",) * 20 + ("test",) * 5
    splits = assign_splits(contents([0] * 25, given_splits=given_splits), recipe(val_fraction=0.25))
    assert splits == ("val",) * 5 + ("train",) * 15 + ("test",) * 5


def test_test_is_taken_off_train_where_only_val_is_given():
    given_splits = ("train",) * 10 + ("val",) * 2
    splits = assign_splits(contents([0] * 12, given_splits=given_splits), recipe(split=(0.1, 0.2)))
    assert splits == ("test",) * 2 + ("train",) * 8 + ("val",) * 2


def test_what_is_given_is_kept():
    given_splits = ("test", "train", "val")
    assert assign_splits(contents([0, 0, 0], given_splits=given_splits), recipe()) == given_splits


def test_train_alone_is_split_like_no_split_at_all():
    rows = [0] * 9
    assert assign_splits(contents(rows, given_splits=("train",) * 9), recipe()) == assign_splits(
        contents(rows), recipe()
    )


def test_without_train_there_is_nothing_to_learn_from():
    with pytest.raises(DataError, match="no training samples, only test, val"):
        assign_splits(contents([0, 0], given_splits=("val", "test")), recipe())


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), min_size=40, max_size=80),
    val=st.floats(0.01, 0.6),
    test=st.floats(0.01, 0.39),
)
def test_every_class_is_everywhere_and_no_content_twice(rows, val, test):
    labels = [label for label, _ in rows]
    table = contents(labels, [bytes([content]) for _, content in rows])
    try:
        splits = assign_splits(table, recipe(split=(val, test)))
    except DataError as error:
        assert "distinct sample(s), at least 3" in str(error)
        return
    for label in set(labels):
        at = {split for split, its in zip(splits, labels, strict=True) if its == label}
        assert at == {"train", "val", "test"}
    for digest in set(table.digests):
        assert len({s for s, d in zip(splits, table.digests, strict=True) if d == digest}) == 1


def test_three_samples_are_enough_and_two_are_not():
    assert Counter(assign_splits(contents([0] * 3), recipe())) == {"train": 1, "val": 1, "test": 1}
    with pytest.raises(DataError, match=r"'class 1' has 2 distinct sample.s., at least 3"):
        assign_splits(contents([0, 0, 0, 1, 1]), recipe())
    with pytest.raises(DataError, match="'class 0' has 1 distinct"):
        assign_splits(contents([0] * 3, [b"same"] * 3), recipe())


def test_a_large_share_leaves_one_to_train():
    splits = assign_splits(contents([0] * 4), recipe(split=(0.5, 0.49)))
    assert Counter(splits) == {"val": 2, "test": 1, "train": 1}


def test_groups_stay_together():
    groups = tuple("abcdefgh"[i % 8] for i in range(80))
    splits = assign_splits(contents([0] * 80, groups=groups), recipe(group="subject"))
    where = {
        group: {s for s, g in zip(splits, groups, strict=True) if g == group} for group in groups
    }
    assert all(len(found) == 1 for found in where.values())
    assert Counter(next(iter(found)) for found in where.values()) == {
        "train": 6,
        "val": 1,
        "test": 1,
    }


def test_too_few_groups_and_straddling_groups_are_refused():
    with pytest.raises(DataError, match=r"2 group.s., at least 3"):
        assign_splits(contents([0] * 4, groups=("a", "a", "b", "b")), recipe())
    table = contents([0] * 3, groups=("a", "b", "a"), given_splits=("train", "val", "test"))
    with pytest.raises(DataError, match="group 'a' is in train and in test"):
        assign_splits(table, recipe())


def test_for_retrieval_whole_identities_are_drawn():
    labels = [i % 20 for i in range(100)]
    splits = assign_splits(contents(labels), recipe(), task="retrieval")
    where = {
        label: {s for s, its in zip(splits, labels, strict=True) if its == label}
        for label in range(20)
    }
    assert all(len(found) == 1 for found in where.values())
    # 0.15 of 20 identities is 3 for val and 3 for test
    assert Counter(next(iter(found)) for found in where.values()) == {
        "train": 14,
        "val": 3,
        "test": 3,
    }


def test_for_retrieval_val_takes_identities_off_train_and_leaves_test_alone():
    labels = [0, 0, 1, 1, 2, 2, 3, 3, 9, 9]
    given_splits = ("train",) * 8 + ("test",) * 2
    table = contents(labels, given_splits=given_splits)
    splits = assign_splits(table, recipe(val_fraction=0.25), task="retrieval")
    assert Counter(splits) == {"train": 6, "val": 2, "test": 2}
    assert splits[8:] == ("test", "test")
    assert all(splits[i] == splits[i + 1] for i in range(0, 8, 2))


def test_the_draw_of_identities_depends_on_their_names_alone():
    labels, order = [i % 10 for i in range(40)], np.random.default_rng(0).permutation(40)
    plain = assign_splits(contents(labels), recipe(), task="retrieval")
    mixed = assign_splits(contents([labels[i] for i in order]), recipe(), task="retrieval")
    assert [plain[i] for i in order] == list(mixed)


def test_too_few_identities_are_said_as_such():
    with pytest.raises(DataError, match="2 identities, at least 3"):
        assign_splits(contents([0, 0, 1, 1]), recipe(), task="retrieval")


def test_a_given_group_wins_over_identities():
    table = contents([0, 0, 0, 0], groups=tuple("abcd"))
    splits = assign_splits(table, recipe(group="film"), task="retrieval")
    assert set(splits) == {"train", "val", "test"}


SUBJECTS = tuple("1122334455")


def test_named_groups_are_left_out_whole():
    plan = recipe(group="subject", test_groups=[5], val_groups=["1"])  # numbers are names too
    splits = assign_splits(contents([0, 1] * 5, groups=SUBJECTS), plan)
    assert splits == ("val",) * 2 + ("train",) * 6 + ("test",) * 2


def test_val_is_one_of_the_groups_that_are_not_named():
    plan = recipe(group="subject", test_groups=["5"], val_fraction=0.25)
    splits = assign_splits(contents([0, 1] * 5, groups=SUBJECTS), plan)
    by_subject = [set(splits[i : i + 2]) for i in range(0, 10, 2)]
    assert by_subject[4] == {"test"}
    assert sorted(map(str, by_subject[:4])) == ["{'train'}"] * 3 + ["{'val'}"]


@pytest.mark.parametrize(
    ("fields", "more", "message"),
    [
        ({"test_groups": ["9"]}, {}, "no group '9' in subject; it has 1, 2, 3, 4, 5"),
        ({"test_groups": list("12345")}, {}, "leave some for train"),
        ({"test_groups": ["1"]}, {"groups": None}, "has no groups to leave out"),
        ({"test_groups": ["1"]}, {"given_splits": ("train",) * 10}, "brings a split of its own"),
    ],
)
def test_groups_that_cannot_be_left_out(fields, more, message):
    given = contents([0, 1] * 5, **({"groups": SUBJECTS} | more))
    with pytest.raises(DataError, match=message):
        assign_splits(given, recipe(group="subject", **fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"test_groups": ["1"]}, "needs `group`, the name of the column"),
        ({"group": "s", "val_groups": ["1"]}, "name test_groups too"),
        ({"group": "s", "test_groups": ["1"], "val_groups": ["1"]}, "both name 1"),
    ],
)
def test_recipes_that_leave_groups_out_by_halves(fields, message):
    with pytest.raises(ValueError, match=message):
        recipe(**fields)
