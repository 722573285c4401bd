import pytest

from edgekd.data.folder import infer_layout, named_layout, open_folder, open_zip
from edgekd.errors import DataError


def layout(*names: str):
    return infer_layout(names, "data")


@pytest.mark.parametrize("top", ["", "Dataset/", "a/b/c/"])
def test_class_folders_alone(top):
    found = layout(f"{top}cat/1.png", f"{top}dog/2.png")
    assert found.labels == ("cat", "dog")
    assert found.splits is None


@pytest.mark.parametrize("top", ["", "Dataset/"])
@pytest.mark.parametrize("spelling", ["val", "valid", "Validation"])
def test_split_folders(top, spelling):
    found = layout(f"{top}train/cat/1.png", f"{top}{spelling}/cat/2.png", f"{top}test/dog/3.png")
    assert found.labels == ("cat", "cat", "dog")
    assert found.splits == ("train", "val", "test")


def test_train_alone_is_no_split():
    found = layout("train/cat/1.png", "train/dog/2.png")
    assert found.labels == ("cat", "dog")
    assert found.splits is None


def test_a_class_may_be_called_train():
    assert layout("train/1.png", "bus/2.png").labels == ("train", "bus")


def test_nested_classes_are_whole_paths():
    assert layout("Latin/a/1.png", "Greek/a/2.png").labels == ("Latin/a", "Greek/a")


def test_one_folder_is_one_class():
    assert layout("x/cat/1.png", "x/cat/2.png").labels == ("cat", "cat")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["1.png", "cat/2.png"], "data: 1.png lies in no class folder"),
        (["train/1.png", "test/2.png"], "1.png lies in no class folder|in a split folder but"),
        (["train/cat/1.png", "test/2.png"], "test/2.png lies in a split folder but in no class"),
        (["cat/1.png", "dog/small/2.png"], "different depths, for example cat/1.png and dog/small"),
        (["train/c/1.png", "test/c/1.png", "extra/c/1.png"], "extra beside test, train; expected"),
    ],
)
def test_ambiguous_layouts_are_refused(names, message):
    with pytest.raises(DataError, match=message):
        layout(*names)


def test_a_folder_is_opened(make_folder, class_files, recipe, console):
    root = make_folder({**class_files(2), "README.md": b"", "cat/broken.png": b"?"})
    contents = open_folder(root, recipe(root), console)
    assert contents.class_names == ("cat", "dog")
    assert contents.names == ("cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png")
    assert contents.labels.tolist() == [0, 0, 1, 1]
    assert contents.skipped == ("cat/broken.png",)
    assert contents.given_splits is None
    assert console.infos == [f"{root}: 1 file(s) that are no images left out: README.md"]


def test_given_splits_follow_their_files_past_a_bad_one(make_zip, class_files, recipe, console):
    files = {"train/aa/0.png": b"bad", **class_files(1, "train/"), **class_files(1, "test/")}
    path = make_zip(files)
    contents = open_zip(path, recipe(path), console)
    assert contents.names == (
        "test/cat/0.png",
        "test/dog/0.png",
        "train/cat/0.png",
        "train/dog/0.png",
    )
    assert contents.given_splits == ("test", "test", "train", "train")
    assert [contents.class_names[label] for label in contents.labels] == ["cat", "dog"] * 2


def test_nested_classes_are_said(make_folder, class_files, recipe, console):
    root = make_folder({**class_files(1, "Latin/"), **class_files(1, "Greek/")})
    assert open_folder(root, recipe(root), console).class_names[0] == "Greek/cat"
    assert "a class is a whole path such as 'Greek/cat'" in console.warnings[0]


def test_two_outer_folders_that_may_be_a_split_are_named(make_folder, class_files, recipe, console):
    two = {**class_files(1, "background/a/"), **class_files(1, "evaluation/b/")}
    root = make_folder(two, "two")
    open_folder(root, recipe(root), console)
    assert console.warnings[0].endswith(
        "; if background and evaluation are a split, say which is which: --train-folder and "
        "--test-folder"
    )
    root = make_folder({**two, **class_files(1, "more/c/")}, "three")
    open_folder(root, recipe(root), console)
    assert "are a split" not in console.warnings[1]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, "it holds no files; expected"),
        (
            {"a/readme.txt": b"", "b.pdf": b""},
            r"only 2 other file\(s\), the first is a/readme\.txt; expected \.jpg",
        ),
    ],
)
def test_a_folder_without_images_is_refused(make_folder, recipe, console, files, found):
    root = make_folder(files)
    with pytest.raises(DataError, match=f"no images found, {found}"):
        open_folder(root, recipe(root), console)


def test_a_group_needs_columns(make_folder, class_files, recipe, console):
    root = make_folder(class_files(1))
    with pytest.raises(DataError, match="folders have no columns"):
        open_folder(root, recipe(root, group="subject"), console)


NAMED = {"bg": "train", "eval": "test"}


@pytest.mark.parametrize("top", ["", "Dataset/", "a/b/"])
def test_folders_that_the_recipe_names(top):
    names = [f"{top}bg/Greek/alpha/1.png", f"{top}eval/Latin/a/2.png", f"{top}val/x/y/3.png"]
    kept, found = named_layout(names, NAMED, "data")
    assert list(kept) == names
    assert found.labels == ("Greek/alpha", "Latin/a", "x/y")
    assert found.splits == ("train", "test", "val")


def test_a_named_folder_may_be_a_path():
    names = ["d/raw/bg/a/1.png", "d/raw/eval/b/2.png", "d/other/c/3.png"]
    for folders in (
        {"raw/bg": "train", "raw/eval": "test"},
        {"d/raw/bg/": "train", "/d/raw/eval": "test"},
    ):
        kept, found = named_layout(names, folders, "data")
        assert kept == tuple(names[:2])
        assert found.labels == ("a", "b")


def test_a_named_folder_without_images_is_an_error():
    with pytest.raises(DataError, match="no image below 'eval', which is to be test; found bg, ev"):
        named_layout(["bg/a/1.png", "ev/b/1.png"], NAMED, "data")
    with pytest.raises(DataError, match="lies in a split folder but in no class folder"):
        named_layout(["bg/1.png", "eval/b/1.png"], NAMED, "data")


def test_other_folders_are_left_out_and_counted(make_folder, class_files, recipe, console):
    files = {**class_files(1, "bg/"), **class_files(1, "eval/"), **class_files(2, "more/")}
    root = make_folder(files)
    plan = recipe(root, train_folder="bg", test_folder="eval")
    contents = open_folder(root, plan, console)
    assert contents.given_splits == ("train", "train", "test", "test")
    assert contents.class_names == ("cat", "dog")
    assert console.infos == [f"{root}: 4 image(s) in other folders left out"]
