from dataclasses import replace

import numpy as np
import pytest
from identity_folder import write_identities
from sensor_file import write_sensors

from edgekd.bench.samples import EvaluationSamples, _rows
from edgekd.bench.select import select
from edgekd.config import BenchRecipe
from edgekd.errors import BundleError, DataError, UsageError
from edgekd.records import Preprocess, SignalInput


@pytest.fixture
def samples(pixels, tmp_path, console):
    (tmp_path / "decoded").mkdir()
    recipe = BenchRecipe(data=str(pixels), split=(0.2, 0.3))
    return EvaluationSamples(recipe, tmp_path / "decoded", console)


@pytest.fixture
def candidate(exported):
    return select([exported / "student.onnx"], baseline=False)[0]


def test_the_split_is_decoded_once_and_lies_there_as_an_array(samples, candidate):
    (path,) = samples.files(candidate.preprocess)
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    assert (values.shape, values.dtype) == ((len(samples), 2, 2, 3), np.uint8)
    direct = samples._split.load(None, candidate.preprocess.image)
    np.testing.assert_array_equal(values, direct)
    assert samples.files(candidate.preprocess) == (path,)


def test_the_metric_is_the_share_of_right_answers(samples, candidate):
    labels = samples._split.labels
    logits = np.eye(3, dtype=np.float32)[labels]
    logits[0] = np.roll(logits[0], 1)
    metric = samples.metric(candidate, logits)
    assert metric.value == 1 - 1 / len(labels)
    assert (metric.name, metric.split, metric.num_samples) == ("top1", "test", len(labels))


def test_the_same_classes_in_another_order_are_refused(samples, candidate):
    samples.check_labels(candidate)
    swapped = replace(candidate, labels=("a", "c", "b"))
    with pytest.raises(DataError, match="class 1 is 'b', the model's is 'c'"):
        samples.check_labels(swapped)
    with pytest.raises(DataError, match="3 classes, the model has 2"):
        samples.check_labels(replace(candidate, labels=("a", "b")))


def test_answers_that_cannot_be_scored_are_refused(samples, candidate):
    with pytest.raises(BundleError, match="expected "):
        samples.metric(candidate, np.zeros((len(samples), 2), np.float32))
    logits = np.full((len(samples), 3), np.nan, np.float32)
    with pytest.raises(BundleError, match="answers NaN on test samples"):
        samples.metric(candidate, logits)


@pytest.fixture
def found(tmp_path, console):
    """The test samples of a data set for retrieval."""
    data = write_identities(tmp_path / "identities", train=6, test=3, images=4, size=2)
    (tmp_path / "decoded").mkdir()
    recipe = BenchRecipe(data=str(data))
    return EvaluationSamples(recipe, tmp_path / "decoded", console, task="retrieval")


def test_embeddings_of_any_width_are_scored_by_mean_ap(found, candidate):
    labels = found._split.labels
    assert len(set(labels)) == 3
    embeddings = np.eye(10, dtype=np.float32)[labels]
    metric = found.metric(candidate, embeddings)
    assert (metric.name, metric.value, metric.split) == ("mean_ap", 1.0, "test")
    assert metric.num_samples == 12
    with pytest.raises(BundleError, match="expected "):
        found.metric(candidate, embeddings[1:])
    embeddings[0, 0] = np.inf  # no direction: nothing can be compared with it
    with pytest.raises(BundleError, match="answers infinity on test samples"):
        found.metric(candidate, embeddings)


def test_the_training_identities_must_be_the_models(found, candidate):
    trained = found._dataset.train_class_names
    found.check_labels(replace(candidate, labels=trained))
    with pytest.raises(DataError, match="other classes than"):
        found.check_labels(replace(candidate, labels=found._dataset.class_names))


def test_only_queries_count_where_a_manifest_says_who_asks(tmp_path, console, candidate):
    data = write_identities(tmp_path / "identities", train=6, test=3, images=4, size=2)
    lines = ["path,identity,split,role"]
    for path in sorted(data.glob("*/*/*.png")):
        split, identity = path.parts[-3:-1]
        role = "both" if split == "train" else "query" if path.stem == "0" else "gallery"
        lines.append(f"{path.relative_to(data)},{identity},{split},{role}")
    (data / "m.csv").write_text("\n".join(lines))
    (tmp_path / "decoded").mkdir()
    recipe = BenchRecipe(data=str(data / "m.csv"))
    found = EvaluationSamples(recipe, tmp_path / "decoded", console, task="retrieval")
    metric = found.metric(candidate, np.eye(10, dtype=np.float32)[found._split.labels])
    assert (metric.value, metric.num_samples) == (1.0, 3)


def test_a_part_of_a_gallery_is_refused():
    with pytest.raises(UsageError, match="retrieval is measured on the whole split"):
        _rows(10, 5, "retrieval")
    assert list(_rows(3, 5, "retrieval")) == [0, 1, 2]


def test_more_samples_hold_the_fewer():
    assert set(_rows(100, 10, "classification")) < set(_rows(100, 20, "classification"))


SENSORS = Preprocess(
    inputs=(
        SignalInput(name="acc", channels=3, length=40, mean=(1.5, -2.0, 9.81), std=(1.0,) * 3),
        SignalInput(name="gyro", channels=2, length=16, mean=(0.5, 0.25), std=(1.0,) * 2),
    )
)


@pytest.fixture
def without(tmp_path, console):
    """``without("acc")``: samples of two sensors, of which some are missing."""
    data = write_sensors(tmp_path / "body.npz")

    def decoded(*missing):
        folder = tmp_path / f"decoded-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return EvaluationSamples(BenchRecipe(data=str(data), missing=missing), folder, console)

    return decoded


def test_a_missing_input_is_its_mean_and_the_others_are_as_they_were(without):
    whole, broken = (
        [np.load(path) for path in found.files(SENSORS)] for found in (without(), without("acc"))
    )
    assert np.array_equal(broken[1], whole[1])
    assert broken[0].shape == whole[0].shape
    expected = np.array([1.5, -2.0, 9.81], np.float32)[:, None]
    assert np.array_equal(broken[0], np.broadcast_to(expected, whole[0].shape))


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (("mag",), r"--missing mag: student\.onnx takes acc, gyro; name one of these"),
        (("acc", "mag"), "--missing mag: "),
        (("gyro", "acc"), r"nothing is left of what student\.onnx takes \(acc, gyro\)"),
    ],
)
def test_what_cannot_be_missing_is_named(without, candidate, missing, said):
    model = replace(candidate, preprocess=SENSORS)
    without("acc").check_missing(model)
    without().check_missing(model)
    with pytest.raises(UsageError, match=said):
        without(*missing).check_missing(model)
