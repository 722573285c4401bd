import numpy as np
import pytest

from edgekd.data.arrays import ArraySignals
from edgekd.data.checks import check_classes, check_duplicates
from edgekd.data.dataset import Contents
from edgekd.errors import DataError

SPLITS = ("train", "train", "val", "val", "test", "test")


def contents(labels, digests="abcdef", classes=("cat", "dog")) -> Contents:
    return Contents(
        kind="image",
        reader=ArraySignals({}),
        names=tuple(f"{i}.png" for i in range(len(labels))),
        labels=np.array(labels),
        class_names=classes,
        digests=tuple(letter.encode() for letter in digests),
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
