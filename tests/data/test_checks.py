import numpy as np
import pytest

from edgekd.data.arrays import ArraySignals
from edgekd.data.checks import (
    check_classes,
    check_duplicates,
    check_identities,
    count_queries,
)
from edgekd.data.dataset import Contents
from edgekd.data.roles import Roles
from edgekd.errors import DataError

SPLITS = ("train", "train", "val", "val", "test", "test")


def contents(
    labels, digests="abcdef", classes=("cat", "dog"), cameras=None, roles=None
) -> Contents:
    return Contents(
        kind="image",
        reader=ArraySignals({}),
        names=tuple(f"{i}.png" for i in range(len(labels))),
        labels=np.array(labels),
        class_names=classes,
        digests=tuple(letter.encode() for letter in digests),
        cameras=None if cameras is None else np.array(cameras),
        roles=None if roles is None else Roles.of(roles),
    )


def test_a_sound_data_set_passes_in_silence(console):
    check_classes(contents([0, 1, 0, 1, 0, 1]), SPLITS, console)
    check_duplicates(contents([0, 1, 0, 1, 0, 1]), SPLITS, console)
    assert console.warnings == []


def test_one_single_class_is_refused(console):
    with pytest.raises(DataError, match=r"one single class \(cat\)"):
        check_classes(contents([0] * 6, classes=("cat",)), SPLITS, console)


@pytest.mark.parametrize("empty", ["train", "val", "test"])
def test_an_empty_split_is_refused(console, empty):
    splits = tuple(({"val", "train"} - {empty}).pop() if s == empty else s for s in SPLITS)
    with pytest.raises(DataError, match=f"the {empty} split is empty"):
        check_classes(contents([0, 1, 0, 1, 0, 1]), splits, console)


def test_a_class_that_is_never_trained_is_refused(console):
    with pytest.raises(DataError, match="1 class without a training sample: dog"):
        check_classes(contents([0, 0, 0, 1, 0, 1]), SPLITS, console)


def test_a_class_that_is_never_tested_is_a_warning(console):
    check_classes(contents([0, 1, 0, 1, 0, 0]), SPLITS, console)
    assert len(console.warnings) == 1
    assert console.warnings[0].startswith("test has no sample of 1 class: dog;")


def test_many_missing_classes_are_cut_short(console):
    classes = tuple(f"c{i:02}" for i in range(14))
    with pytest.raises(DataError, match=r"12 classes without .*c02.*c11 and 2 more"):
        check_classes(contents([0, 1, 0, 1, 0, 1], classes=classes), SPLITS, console)


def test_one_content_under_two_labels_is_named(console):
    check_duplicates(contents([0, 1, 0, 1, 0, 1], "aabcde"), SPLITS, console)
    assert console.warnings == [
        "1 content with different labels, for example 0.png (cat, train) = 1.png (dog, train); "
        "mend the labels or remove the samples"
    ]


def test_one_content_in_two_splits_is_named(console):
    check_duplicates(contents([0, 1, 0, 1, 0, 1], "abacae"), SPLITS, console)
    assert len(console.warnings) == 1
    assert console.warnings[0].startswith(
        "1 content in more than one split, for example "
        "0.png (cat, train) = 2.png (cat, val) = 4.png (cat, test);"
    )


def test_a_repeat_within_a_split_is_nobodys_harm(console):
    check_duplicates(contents([0, 0, 0, 1, 0, 1], "aabcde"), SPLITS, console)
    assert console.warnings == []


IDENTITIES = ("a", "b", "c", "d")
EIGHT = ("train",) * 4 + ("val",) * 2 + ("test",) * 2


def identities(labels, **changes):
    return contents(labels, "abcdefgh"[: len(labels)], IDENTITIES, **changes)


def test_val_and_test_may_have_identities_of_their_own(console):
    check_identities(identities([0, 0, 1, 1, 2, 2, 3, 3]), EIGHT, console)
    assert console.warnings == console.infos == []


def test_one_single_identity_in_train_is_refused(console):
    with pytest.raises(DataError, match=r"one single identity in train \(a\)"):
        check_identities(identities([0, 0, 0, 0, 2, 2, 3, 3]), EIGHT, console)


def test_a_split_in_which_nothing_can_be_found_is_refused(console):
    with pytest.raises(DataError, match="no sample of val has another image of its identity"):
        check_identities(identities([0, 0, 1, 1, 2, 3, 3, 3]), EIGHT, console)
    table = identities([0, 0, 1, 1, 2, 2, 3, 3], cameras=[0, 0, 0, 0, 0, 1, 5, 5])
    with pytest.raises(DataError, match="no sample of test has an image of another camera"):
        check_identities(table, EIGHT, console)


def test_an_empty_split_of_identities_is_refused(console):
    with pytest.raises(DataError, match="the test split is empty"):
        check_identities(identities([0, 0, 1, 1, 2, 2]), EIGHT[:6], console)


def test_samples_that_find_nothing_are_counted(console):
    splits = ("train",) * 2 + ("val",) * 3 + ("test",) * 3
    check_identities(identities([0, 1, 2, 2, 3, 2, 2, 2]), splits, console)
    assert console.infos == [
        "val: 1 of 3 samples have no image of their identity that they could find; they are "
        "searched through but ask nothing"
    ]
    assert console.warnings[0].startswith("train has one single image each of 2 identities: a, b;")


def test_queries_by_hand():
    table = identities([0, 0, 0, 1, 1, 2], cameras=[0, 0, 1, 0, 0, 0])
    # identity 0: all three find one of another camera; 1: the same camera; 2: alone
    assert count_queries(table, ("test",) * 6, "test") == 3
    assert count_queries(identities([0, 0, 0, 1, 1, 2]), ("test",) * 6, "test") == 5


def test_queries_are_those_that_ask_and_find_something_in_the_gallery(console):
    roles = ["both"] * 4 + ["query", "gallery", "query", "gallery"]
    labels = [0, 0, 1, 1, 2, 2, 3, 2]
    splits = ("train",) * 4 + ("val",) * 2 + ("test",) * 2
    assert count_queries(identities(labels, roles=roles), splits, "val") == 1
    with pytest.raises(DataError, match="no query of test has another image in the gallery"):
        check_identities(identities(labels, roles=roles), splits, console)
    splits = ("train",) * 4 + ("val",) * 2 + ("test",) * 3
    table = contents([*labels, 3], "abcdefghi", IDENTITIES, roles=[*roles, "gallery"])
    check_identities(table, splits, console)
    assert console.infos == []
    table = contents([*labels, 3, 1], "abcdefghij", IDENTITIES, roles=[*roles, "gallery", "query"])
    check_identities(table, (*splits, "test"), console)
    assert console.infos == [
        "test: 1 of 2 queries have no image of their identity that they could find; they count "
        "in no metric"
    ]
