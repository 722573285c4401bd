from contextlib import contextmanager

import numpy as np
import pytest
from recording_console import RecordingConsole
from sensor_file import write_sensors
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.console import SilentConsole
from edgekd.distill.launch import launch
from edgekd.distill.material import make_batches, open_material
from edgekd.errors import DataError


class Bars(SilentConsole):
    """Notes every bar with its length, and how many steps are done in all."""

    def __init__(self):
        self.opened, self.steps = [], 0

    @contextmanager
    def track(self, description, total, done=0):
        self.opened.append((description, total))
        yield self

    def advance(self, steps=1):
        self.steps += steps


def test_a_share_that_leaves_single_samples_is_doubted():
    console = RecordingConsole()
    few = TrainRecipe(data="builtin:digits", label_fraction=0.001)
    open_material(few, console)
    (warning,) = console.warnings
    assert warning.startswith("train has one single sample each of 10 classes: 0, 1, 2, ")


def recipe(data, **augment):
    return TrainRecipe(data=str(data), augment=augment)


def test_decoding_and_scoring_show_how_far_they_are():
    console = Bars()
    material = open_material(recipe("builtin:digits"), console)
    sizes = {name: len(samples) for name, samples in material.dataset.splits.items()}
    decoded = [(f"Decoding {name}", sizes[name]) for name in ("train", "val", "test")]
    assert sorted(bar for bar in console.opened if bar[0] in dict(decoded)) == sorted(decoded)
    assert console.steps == sum(sizes.values())
    console.opened.clear()
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    material.validate(module)
    material.score(module, "test")
    assert console.opened == [("Scoring val", sizes["val"]), ("Scoring test", sizes["test"])]
    assert console.steps == sum(sizes.values()) + sizes["val"] + sizes["test"]


@pytest.mark.parametrize(
    "augment",
    [
        {"mixup": 0.2},
        {"cutmix": 1.0},
        {"erasing": 0.5},
        {"randaugment": 9},
        {"flip": True},
        {"crop_padding": 2},
    ],
)
def test_what_is_done_to_images_is_refused_for_sensors(tmp_path, augment):
    data = write_sensors(tmp_path / "body.npz", subjects=2)
    with pytest.raises(DataError, match=f"holds sensor windows.*{next(iter(augment))}"):
        open_material(recipe(data, **augment), SilentConsole())


def test_the_images_of_several_inputs_take_randaugment_and_none_is_asked_of_sensors(tmp_path):
    data = write_sensors(tmp_path / "body.npz", subjects=2)
    open_material(recipe(data, flip=False, crop_padding=0), SilentConsole())
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    mixed = write_sensors(tmp_path / "mixed.npz", subjects=2, x=images)
    assert open_material(recipe(mixed, randaugment=9), SilentConsole()).dataset.kind == "mixed"


def test_identities_that_a_share_of_the_labels_leaves_one_image_are_a_warning(tmp_path):
    warned = []

    class Console(SilentConsole):
        def warn(self, text):
            warned.append(text)

    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    splits = np.repeat(["train", "val", "test"], 8)
    np.savez(tmp_path / "pairs.npz", x=images, y=np.arange(24) % 2, split=splits)
    plan = {"task": "retrieval", "student": "resnet8", "label_fraction": 0.25}
    open_material(TrainRecipe(data=str(tmp_path / "pairs.npz"), **plan), Console())
    assert [text for text in warned if "single image each of 2 identities: 0, 1;" in text]


def test_one_vector_a_step_is_refused_before_a_norm_fails(tmp_path):
    vectors = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    data = write_sensors(tmp_path / "body.npz", subjects=2, x_pose=vectors)
    alone = TrainRecipe(data=str(data), batch_size=1, num_threads=1)
    material = open_material(alone, SilentConsole())
    with pytest.raises(DataError, match=r"'pose' has one time step.*--batch-size 2"):
        make_batches(alone.settled(40), material, launch(alone), SilentConsole())
