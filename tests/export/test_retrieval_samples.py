"""Which samples judge an exported embedding network."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from identity_folder import write_identities
from tiny_bundle import write_tiny_bundle

from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.data.open import open_dataset
from edgekd.data.roles import Roles
from edgekd.errors import DataError
from edgekd.export.samples import gather_samples, whole_identities
from edgekd.records import ImageInput, Preprocess
from edgekd.students.build import load_student

IMAGE = ImageInput(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3)


class Val(SimpleNamespace):
    def __len__(self):
        return len(self.labels)


def chosen(labels, num_parity, cameras=None, seed=0, roles=None):
    val = Val(labels=np.array(labels), cameras=cameras, roles=roles)
    return whole_identities(val, ExportRecipe(num_parity=num_parity, seed=seed))


def test_identities_are_taken_whole_until_there_are_enough():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 5))
    rows = chosen(labels, 12)
    assert len(rows) == 15
    counts = np.bincount(labels[rows], minlength=10)
    assert sorted(counts.tolist()) == [0] * 7 + [5] * 3
    assert (np.diff(rows) > 0).all()
    other = chosen(labels, 12, seed=1)
    assert set(labels[rows].tolist()) != set(labels[other].tolist())


def test_all_are_taken_where_there_are_fewer():
    assert chosen([0, 0, 1, 1, 1], 100).tolist() == [0, 1, 2, 3, 4]


def test_identities_of_which_nothing_can_be_found_come_last():
    labels = [*range(50), 60, 60]
    for seed in range(5):
        assert {50, 51} <= set(chosen(labels, 3, seed=seed).tolist())
    labels, cameras = np.repeat(np.arange(20), 2), np.zeros(40, int)
    cameras[14] = 1  # identity 7 alone was seen by two cameras
    for seed in range(5):
        assert {14, 15} <= set(chosen(labels, 2, cameras, seed=seed).tolist())


def test_an_identity_nobody_asks_for_can_not_be_found():
    words = np.array(["gallery"] * 40)
    words[14] = "query"  # identity 7 alone is asked for
    for seed in range(5):
        rows = chosen(np.repeat(np.arange(20), 2), 2, seed=seed, roles=Roles.of(words.tolist()))
        assert {14, 15} <= set(rows.tolist())


@pytest.fixture
def data(tmp_path):
    return write_identities(tmp_path / "data", train=6, test=3, images=4)


def taught_on(folder, data):
    dataset = open_dataset(
        ExportRecipe(data=str(data), val_fraction=0.34), SilentConsole(), task="retrieval"
    )
    network = write_tiny_bundle(
        folder, Preprocess(inputs=(IMAGE,)), dataset.train_class_names, embedding_dim=5
    )
    return network.network, dataset


def test_the_judges_are_identities_of_val_and_calibration_is_from_train(tmp_path, data):
    network, dataset = taught_on(tmp_path / "student", data)
    record, student = load_student(tmp_path / "student")
    recipe = ExportRecipe(data=str(data), val_fraction=0.34, int8=True, num_calibration=7)
    samples = gather_samples(record, student, recipe, SilentConsole())
    reference, val = samples.reference, dataset.splits["val"]
    assert (reference.task, reference.split) == ("retrieval", "val")
    assert reference.labels.tolist() == val.labels.tolist()
    assert set(reference.labels).isdisjoint(dataset.splits["train"].labels)
    assert reference.logits.shape == (len(val), 5)
    x = torch.from_numpy((val.load(None, IMAGE) / 255 - 0.5) / 0.25).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        np.testing.assert_allclose(reference.logits, network(x).numpy(), rtol=1e-4, atol=1e-5)
    train = dataset.splits["train"].load(None, IMAGE)
    for pixels in samples.calibration.decoded[0]:
        assert (train == pixels).all(axis=(1, 2, 3)).any()


def test_other_training_identities_are_refused(tmp_path, data):
    taught_on(tmp_path / "student", data)
    record, student = load_student(tmp_path / "student")
    other = ExportRecipe(data=str(data), val_fraction=0.67)
    with pytest.raises(DataError, match=r"training identities .* split as it was"):
        gather_samples(record, student, other, SilentConsole())


def test_without_data_the_answers_are_still_embeddings(tmp_path, data):
    taught_on(tmp_path / "student", data)
    record, student = load_student(tmp_path / "student")
    reference = gather_samples(record, student, ExportRecipe(), SilentConsole()).reference
    assert (reference.task, reference.labels) == ("retrieval", None)
    assert reference.metrics(reference.logits) == ()
