import hashlib

import numpy as np
import pytest

from edgekd.data.open import fingerprint, open_dataset
from edgekd.data.preprocess import suggest_preprocess
from edgekd.errors import DataError
from edgekd.records import ImageInput

SPEC = ImageInput(channels=3, height=4, width=4, mean=(0.0,) * 3, std=(1.0,) * 3)


def test_a_folder_and_its_zip_are_the_same_data(
    make_folder, make_zip, class_files, recipe, console
):
    files = class_files(10)
    folder = open_dataset(recipe(make_folder(files)), console)
    zipped = open_dataset(recipe(make_zip({f"Dataset/{n}": c for n, c in files.items()})), console)
    renamed = {n.replace("/", "/x" + n[4:5]): c for n, c in reversed(files.items())}
    moved = open_dataset(recipe(make_folder(renamed, "renamed")), console)
    for other in (zipped, moved):
        assert other.fingerprint == folder.fingerprint
        for name, samples in folder.splits.items():
            twin = other.splits[name]
            assert np.array_equal(twin.labels, samples.labels)
            assert np.array_equal(twin.load(None, SPEC), samples.load(None, SPEC))
    # 0.15 of 10 is 1.5 and rounds up: two of each class
    assert folder.ref().num_samples == {"train": 12, "val": 4, "test": 4}


def test_the_fingerprint_depends_on_content_label_and_split_only():
    rows = [(b"\x01", "cat", "train"), (b"\x02", "dog", "test")]
    digests, labels, splits = zip(*rows, strict=True)
    expected = hashlib.sha256(b"test 02 dog\ntrain 01 cat\n").hexdigest()
    assert fingerprint(digests, labels, splits) == expected
    assert fingerprint(digests[::-1], labels[::-1], splits[::-1]) == expected
    assert fingerprint(digests, labels[::-1], splits) != expected
    assert fingerprint(digests, labels, splits[::-1]) != expected


def test_given_splits_and_skipped_files_reach_the_record(make_folder, class_files, recipe, console):
    root = make_folder(
        {
            **class_files(4, "train/"),
            **class_files(2, "val/", start=40),
            **class_files(3, "test/", start=80),
            "train/cat/bad.jpg": b"\xff\xd8",
        }
    )
    dataset = open_dataset(recipe(root), console)
    ref = dataset.ref()
    assert ref.num_samples == {"train": 8, "val": 4, "test": 6}
    assert ref.skipped_files == 1
    assert ref.source == str(root)
    assert ref.fingerprint == dataset.fingerprint
    assert dataset.skipped_files == ("train/cat/bad.jpg",)
    assert console.infos[-1] == f"{root}: 2 classes; train 8, val 4, test 6"
    assert all(name.startswith("test/") for name in dataset.splits["test"].names)


def test_too_many_bad_files_are_an_error(make_folder, class_files, recipe, console):
    root = make_folder({**class_files(3), "cat/bad.jpg": b"", "dog/bad.jpg": b""})
    with pytest.raises(DataError, match="more than 1 unreadable files"):
        open_dataset(recipe(root, max_bad_files=1), console)


def test_leaks_and_contradictions_are_said(make_folder, class_files, recipe, console, png):
    same = png(seed=9)
    root = make_folder(
        {
            **class_files(3, "train/"),
            **class_files(3, "test/", start=40),
            "train/cat/same.png": same,
            "test/dog/same.png": same,
        }
    )
    open_dataset(recipe(root, val_fraction=0.3), console)
    assert [text.split(",")[0] for text in console.warnings] == [
        "1 content with different labels",
        "1 content in more than one split",
    ]


def test_manifest_identities_and_cameras_reach_the_split(make_folder, png, recipe, console):
    root = make_folder({f"{i}.png": png(seed=i) for i in range(6)})
    splits = ("train", "train", "val", "val", "test", "test")
    lines = [f"{i}.png,{'ab'[i % 2]},{splits[i]},p{i},c{i % 2}" for i in range(6)]
    (root / "m.csv").write_text("path,label,split,identity,camera\n" + "\n".join(lines))
    test = open_dataset(recipe(root / "m.csv"), console).splits["test"]
    assert sorted(zip(test.names, test.identities, test.cameras, strict=True)) == [
        ("4.png", 4, 0),
        ("5.png", 5, 1),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "nowhere",
            "nowhere: no such file or folder; expected a folder, .zip, .csv, .npz, builtin",
        ),
        ("builtin:letters", "no such file or folder"),
        ("a.tar.gz", "unknown kind of file '.gz'"),
    ],
)
def test_what_is_no_data_is_refused(data, message, recipe, console, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tar.gz").write_bytes(b"")
    with pytest.raises(DataError, match=message):
        open_dataset(recipe(data), console)


def test_builtin_data_have_no_groups(recipe, console):
    pytest.importorskip("sklearn")
    with pytest.raises(DataError, match="no column 'subject'"):
        open_dataset(recipe("builtin:digits", group="subject"), console)


def test_the_digits_are_split_by_content(recipe, console):
    pytest.importorskip("sklearn")
    dataset = open_dataset(recipe("builtin:digits", split=(0.1, 0.2)), console)
    # 178 182 177 183 181 182 181 179 174 180 per class: 0.1 and 0.2 of each, rounded, summed
    assert dataset.ref().num_samples == {"train": 1797 - 179 - 359, "val": 179, "test": 359}
    assert dataset.splits["train"].load(np.array([0]), SPEC).shape == (1, 4, 4, 3)


@pytest.mark.parametrize("name", ["a\x1bb", "\u2028", " "])
def test_class_names_can_be_shown(name, tmp_path, recipe, console):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((2, 2, 2), np.uint8), y=np.array([name, "b"]))
    with pytest.raises(DataError, match="control characters"):
        open_dataset(recipe(path), console)


def test_class_names_are_distinct(tmp_path, recipe, console):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((2, 2, 2), np.uint8), y=[0, 1], class_names=["a", "a"])
    with pytest.raises(DataError, match="two classes of the same name"):
        open_dataset(recipe(path), console)


def test_real_photos_of_signs(real_data, recipe, console):
    dataset = open_dataset(recipe(real_data("sign-language-digits.zip")), console)
    assert sum(dataset.ref().num_samples.values()) == 2062
    assert dataset.class_names == tuple("0123456789")
    image = suggest_preprocess(dataset, input_size=None, fit="crop").image
    assert (image.channels, image.height, image.width) == (3, 100, 100)
    giants = [np.flatnonzero(s.sizes[:, 0] == 3024) for s in dataset.splits.values()]
    assert sum(map(len, giants)) == 3
    for samples, rows in zip(dataset.splits.values(), giants, strict=True):
        assert samples.load(rows, image).shape == (len(rows), 100, 100, 3)


def test_real_sports_by_subject(real_data, recipe, console):
    path = real_data("daily-sports.npz")
    dataset = open_dataset(recipe(path, group="subject"), console)
    assert dataset.kind == "signal"
    assert dataset.modalities == dict.fromkeys(("acc", "gyro", "mag"), (9, 125))
    assert dataset.ref().num_samples == {"train": 6840, "val": 1140, "test": 1140}
    spec = next(i for i in suggest_preprocess(dataset, input_size=None, fit="crop").inputs)
    subjects = np.load(path, allow_pickle=False)["subject"]
    held_out = {int(subjects[row]) for row in dataset.splits["test"].rows}
    assert len(held_out) == 1
    assert dataset.splits["test"].load(np.arange(5), spec).shape == (5, 9, 125)


def test_real_letters_are_grey(real_data, recipe, console):
    dataset = open_dataset(recipe(real_data("omniglot.zip")), console)
    assert len(dataset.class_names) == 1623
    image = suggest_preprocess(dataset, input_size=28, fit="squash").image
    assert (image.channels, image.height) == (1, 28)


def test_real_cifar_keeps_its_test_split(real_data, recipe, console):
    dataset = open_dataset(recipe(real_data("cifar10-jpeg.zip")), console)
    assert dataset.ref().num_samples == {"train": 45000, "val": 5000, "test": 10000}
    assert np.bincount(dataset.splits["val"].labels).tolist() == [500] * 10
    assert dataset.skipped_files == ()


def test_identities_may_differ_and_those_of_train_come_first(
    make_folder, class_files, recipe, console
):
    files = {
        **class_files(3, "train/", classes=("m", "p", "z")),
        **class_files(3, "test/", classes=("a", "q"), start=90),
    }
    root = make_folder(files)
    dataset = open_dataset(recipe(root, val_fraction=0.34), console, task="retrieval")
    train, val, test = (dataset.splits[name] for name in ("train", "val", "test"))
    assert sorted(dataset.class_names) == ["a", "m", "p", "q", "z"]
    assert set(train.labels) == {0, 1}
    assert dataset.train_class_names == dataset.class_names[:2]
    assert set(dataset.train_class_names) < {"m", "p", "z"}
    names = {
        split: {dataset.class_names[label] for label in samples.labels}
        for split, samples in dataset.splits.items()
    }
    assert names["test"] == {"a", "q"}
    assert names["train"] | names["val"] == {"m", "p", "z"}
    assert (len(val), len(test)) == (3, 6)
    assert all(
        name.split("/")[1] == dataset.class_names[label]
        for samples in dataset.splits.values()
        for name, label in zip(samples.names, samples.labels, strict=True)
    )
    assert "train 6 of 2 identities, val 3 of 1 identities, test 6 of 2" in console.infos[-1]
    with pytest.raises(DataError, match="without a training sample: a, q"):
        open_dataset(recipe(root), console)


def test_all_classes_are_trained_for_classification(make_folder, class_files, recipe, console):
    dataset = open_dataset(recipe(make_folder(class_files(10))), console)
    assert dataset.train_class_names == dataset.class_names == ("cat", "dog")


def test_a_manifests_identities_are_the_classes_of_retrieval(make_folder, png, recipe, console):
    rows = ["path,label,identity,camera,split"]
    for number in range(12):
        split = "train" if number < 6 else "val" if number < 9 else "test"
        rows.append(f"{number}.png,car,v{number // 3},c{number % 2},{split}")
    files = {f"{number}.png": png(seed=number) for number in range(12)}
    root = make_folder({**files, "m.csv": "\n".join(rows).encode()})
    dataset = open_dataset(recipe(root / "m.csv"), console, task="retrieval")
    assert dataset.class_names == ("v0", "v1", "v2", "v3")
    assert dataset.train_class_names == ("v0", "v1")
    assert dataset.splits["test"].cameras is not None
    assert set(dataset.splits["test"].labels) == {3}


def test_roles_reach_the_split_and_are_part_of_the_fingerprint(make_folder, png, recipe, console):
    files = {f"{number}.png": png(seed=number) for number in range(10)}
    splits = ["train"] * 6 + ["test"] * 4

    def opened(name, *words):
        rows = zip(range(10), splits, ["both"] * 6 + list(words), strict=True)
        lines = [f"{n}.png,v{n // 2},{split},{word}" for n, split, word in rows]
        (root / name).write_text("path,identity,split,role\n" + "\n".join(lines))
        plan = recipe(root / name, val_fraction=0.34)
        return open_dataset(plan, console, task="retrieval")

    root = make_folder(files)
    dataset = opened("a.csv", "query", "gallery", "query", "gallery")
    test = dataset.splits["test"]
    assert dict(zip(test.names, test.roles.words(), strict=True)) == {
        "6.png": "query", "7.png": "gallery", "8.png": "query", "9.png": "gallery",
    }  # fmt: skip
    assert dataset.splits["val"].roles.is_query.all()
    other = opened("b.csv", "gallery", "query", "query", "gallery")
    assert other.fingerprint != dataset.fingerprint
    same = opened("c.csv", "query", "gallery", "query", "gallery")
    assert same.fingerprint == dataset.fingerprint


def test_named_folders_need_folders(tmp_path, recipe, console):
    plan = recipe("builtin:digits", train_folder="a", test_folder="b")
    with pytest.raises(DataError, match="has no folders to be train_folder 'a'"):
        open_dataset(plan, console)


def test_omniglot_is_retrieval_with_unseen_characters(real_data, recipe, console):
    plan = recipe(
        real_data("omniglot.zip"), train_folder="images_background", test_folder="images_evaluation"
    )
    dataset = open_dataset(plan, console, task="retrieval")
    sizes = {name: len(samples) for name, samples in dataset.splits.items()}
    assert sizes == {"train": 868 * 20, "val": 96 * 20, "test": 659 * 20}
    assert len(dataset.train_class_names) == 868
