import pytest

from edgekd.config import BenchRecipe, DataRecipe, ExportRecipe, TrainRecipe
from edgekd.data.as_trained import require_windows, split_as_trained
from edgekd.data.open import open_dataset
from edgekd.errors import BundleError, DataError
from edgekd.records import SignalInput

FIELDS = ("split", "val_fraction", "group", "test_groups", "val_groups")
SUBJECTS = {"group": "subject", "test_groups": (8, 7), "val_fraction": 0.2}


def recorded(**fields):
    """A training's recipe as its bundle holds it."""
    return TrainRecipe(data="d.npz", student="sensor", **fields).model_dump(mode="json")


@pytest.mark.parametrize("kind", [ExportRecipe, BenchRecipe])
def test_without_a_word_about_splits_the_training_decides(kind, console):
    recipe = kind(data="d.npz", max_bad_files=3)
    found = split_as_trained(recipe, [recorded(**SUBJECTS)], console)
    assert isinstance(found, kind)
    assert [getattr(found, name) for name in FIELDS] == [
        (0.15, 0.15), 0.2, "subject", ("8", "7"), ()
    ]  # fmt: skip
    assert found.max_bad_files == 3
    assert console.infos == [
        "d.npz: split as in training, --val-fraction 0.2 --group subject --test-groups 8,7 "
        "(give a flag for another split)"
    ]


@pytest.mark.parametrize("data", ["photos", "photos.zip", "builtin:digits"])
def test_images_have_no_groups_of_a_training(data, console):
    with pytest.raises(DataError, match=r"without columns, and .* by 'subject'; give the data"):
        split_as_trained(ExportRecipe(data=data), [recorded(**SUBJECTS)], console)


def test_images_are_no_windows():
    acc = SignalInput(name="acc", channels=3, length=8, mean=(0.0,) * 3, std=(1.0,) * 3)
    require_windows(ExportRecipe(data="motion.NPZ"), [acc])
    require_windows(ExportRecipe(), [acc])
    require_windows(ExportRecipe(data="photos"), [])
    with pytest.raises(DataError, match=r"photos: holds images, .* windows of acc; give the \.npz"):
        require_windows(BenchRecipe(data="photos"), [acc])


@pytest.mark.parametrize("given", [{"split": (0.15, 0.15)}, {"val_fraction": 0.3}])
def test_whoever_says_how_decides_alone(given, console):
    recipe = ExportRecipe(data="d.npz", **given)
    assert split_as_trained(recipe, [recorded(**SUBJECTS)], console) is recipe
    assert console.infos == []


@pytest.mark.parametrize(
    "trainings",
    [
        [],
        [{}, {"source": "timm:resnet18"}],  # of no training of ours
        [recorded()],  # as the recipe is anyway
        [recorded(split=(0.2, 0.2)), recorded(split=(0.1, 0.2))],
    ],
)
def test_where_no_one_split_is_known_the_recipe_stays(trainings, console):
    recipe = BenchRecipe(data="d.npz")
    assert split_as_trained(recipe, trainings, console) is recipe
    assert console.infos == []


def test_without_data_there_is_nothing_to_split(console):
    recipe = ExportRecipe()
    assert split_as_trained(recipe, [recorded(**SUBJECTS)], console) is recipe


def test_several_files_of_one_training_are_one(console):
    same = [recorded(split=(0.2, 0.3), epochs=n) for n in (1, 2)]
    found = split_as_trained(BenchRecipe(data="d.npz"), [*same, {}], console)
    assert found.split == (0.2, 0.3)


def test_a_recorded_split_that_cannot_be_is_a_damaged_bundle(console):
    with pytest.raises(BundleError, match=r"damaged \(split: .* sum to less than 1"):
        split_as_trained(ExportRecipe(data="d"), [{"split": [0.6, 0.6]}], console)


def test_the_same_data_then_have_the_same_fingerprint(console):
    trained = DataRecipe(data="builtin:digits", split=(0.3, 0.1))
    later = split_as_trained(
        ExportRecipe(data="builtin:digits"), [trained.model_dump(mode="json")], console
    )
    assert open_dataset(later, console).fingerprint == open_dataset(trained, console).fingerprint
