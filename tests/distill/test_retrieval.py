"""``teach`` and ``distill`` for retrieval, end to end on folders of disjoint identities."""

import json
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import safetensors.torch
import torch
from identity_folder import write_identities

from edgekd.bundle import TRAINING_HEAD_FILE, WEIGHTS_FILE, read_bundle, sha256_of
from edgekd.config import ExportRecipe, TrainRecipe
from edgekd.console import SilentConsole
from edgekd.data.open import open_dataset
from edgekd.distill.launch import launch
from edgekd.distill.run import distill
from edgekd.errors import DataError, InterruptedRun, ModelError, UsageError
from edgekd.evaluate.retrieval import retrieval_scores
from edgekd.export.parity import compare, problems
from edgekd.export.prepare import prepare_for_export
from edgekd.export.samples import gather_samples, source_logits
from edgekd.students.build import load_student, load_teaching_network

RETRIEVAL = {"embedding_dim": 8, "identities_per_batch": 4, "images_per_identity": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_identities(tmp_path_factory.mktemp("data"), train=10, test=5, images=6)


@pytest.fixture(scope="module")
def recipe(data):
    def make(**changes):
        plan = {
            "data": str(data),
            "task": "retrieval",
            "student": "resnet8",
            "student_options": {"width": 4, "last_stride": 1},
            "retrieval": RETRIEVAL,
            "val_fraction": 0.3,
            "epochs": 3,
            "lr": 0.05,
            "precision": "fp32",
            "num_threads": 1,
        }
        return TrainRecipe(**(plan | changes))

    return make


@pytest.fixture(scope="module")
def taught(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    return folder, distill(recipe(), folder)


def test_a_bundle_finds_identities_it_has_never_seen(taught, data, recipe):
    folder, record = taught
    assert record == read_bundle(folder)
    names = [(m.split, m.name) for m in record.metrics]
    assert names == [
        (split, name)
        for split in ("val", "test")
        for name in ("mean_ap", "recall_at_1", "recall_at_5", "recall_at_10")
    ]
    dataset = open_dataset(recipe(), SilentConsole(), task="retrieval")
    assert record.labels == dataset.train_class_names
    assert len(record.labels) == 7
    test = dataset.splits["test"]
    assert {dataset.class_names[label] for label in test.labels}.isdisjoint(record.labels)
    scores = retrieval_scores(embeddings_of(folder, test), test.labels)
    assert scores.mean_ap == pytest.approx(record.metrics[4].value, abs=1e-6)
    # five colours with noise: chance is about 5/29
    assert scores.mean_ap > 0.6


def embeddings_of(folder, samples):
    record, network = load_student(folder)
    spec = record.preprocess.image
    pixels = torch.from_numpy(samples.load(None, spec)).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (spec.mean, spec.std))
    with torch.no_grad():
        return network((pixels - mean) / std).numpy()


def test_queries_and_gallery_of_a_manifest_are_what_is_measured(recipe, tmp_path):
    data = write_identities(tmp_path / "data", train=10, test=5, images=6)
    lines = ["path,identity,split,role"]
    for path in sorted(data.glob("*/*/*.png")):
        split, identity = path.parts[-3:-1]
        role = "both" if split == "train" else "query" if path.stem in "01" else "gallery"
        lines.append(f"{path.relative_to(data)},{identity},{split},{role}")
    (data / "m.csv").write_text("\n".join(lines))
    plan = recipe(data=str(data / "m.csv"), epochs=1)
    record = distill(plan, tmp_path / "run")
    test = open_dataset(plan, SilentConsole(), task="retrieval").splits["test"]
    unit = embeddings_of(tmp_path / "run", test).astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    gallery = np.array([not name.endswith(("/0.png", "/1.png")) for name in test.names])
    precisions = []
    for query in np.flatnonzero(~gallery):
        order = np.argsort(-(unit[gallery] @ unit[query]))
        right = (test.labels[gallery] == test.labels[query])[order]
        places = np.flatnonzero(right) + 1
        precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
    metric = next(m for m in record.metrics if (m.split, m.name) == ("test", "mean_ap"))
    assert metric.num_samples == len(precisions) == 10
    assert metric.value == pytest.approx(np.mean(precisions), abs=1e-6)
    val = next(m for m in record.metrics if m.split == "val")
    assert val.num_samples == 3 * 6  # of train, where all ask and all are found


def test_the_deployed_weights_hold_no_classifier_and_the_head_lies_beside_them(taught):
    folder, record = taught
    weights = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    assert not any("classifier" in name or "fc" in name for name in weights)
    assert sum(t.numel() for n, t in weights.items() if "running" not in n and "num" not in n) == (
        record.num_params
    )
    head = safetensors.torch.load_file(folder / TRAINING_HEAD_FILE)
    assert {name: tuple(tensor.shape) for name, tensor in head.items()} == {"weight": (7, 8)}
    assert sha256_of(folder / TRAINING_HEAD_FILE) == record.training_head_sha256
    assert (record.task, record.arch.embedding_dim, record.arch.num_classes) == ("retrieval", 8, 7)
    _, full = load_teaching_network(folder)
    assert torch.equal(full.classifier.weight, head["weight"])


def test_a_distilled_student_learns_from_logits_and_features(taught, recipe, tmp_path):
    folder, teacher = taught
    record = distill(recipe(teacher=str(folder), method="kd", epochs=1), tmp_path / "student")
    assert record.provenance.teacher.sha256 == teacher.weights_sha256
    row = json.loads((tmp_path / "student" / "history.jsonl").read_text())
    expected = row["label_loss"] + row["triplet_loss"] + row["kd_loss"] + 0.5 * row["fit_loss"]
    assert row["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert 0 <= row["val_mean_ap"] <= 1


def test_a_teacher_of_other_identities_is_refused(taught, recipe, tmp_path):
    with pytest.raises(ModelError, match=r"answers 7 classes, the data has 5"):
        distill(recipe(teacher=str(taught[0]), method="kd", val_fraction=0.5), tmp_path / "student")


class Impatient(SilentConsole):
    """Presses Ctrl-C after so many steps of a run of ``total``."""

    def __init__(self, steps, *, total):
        self.left, self.total, self.is_training = steps, total, False

    @contextmanager
    def track(self, description, total, done=0):
        outer, self.is_training = self.is_training, total == self.total
        yield self
        self.is_training = outer  # scoring has a bar of its own within that of training

    def advance(self, steps=1):
        self.left -= self.is_training
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)

    def describe(self, text):
        pass


def test_an_interrupted_run_goes_on_to_the_same_weights_and_the_same_head(recipe, tmp_path, taught):
    with pytest.raises(InterruptedRun, match=r"stopped after step 2 of epoch 2"):
        # 42 samples of 7 identities in batches of 12: 3 steps an epoch
        distill(recipe(), tmp_path / "run", console=Impatient(5, total=9))
    resumed = distill(recipe(), tmp_path / "run", resume=True)
    assert resumed.weights_sha256 == taught[1].weights_sha256
    assert resumed.training_head_sha256 == taught[1].training_head_sha256


def test_an_exported_network_is_judged_by_what_it_finds(taught, data):
    folder, _ = taught
    record, student = load_student(folder)
    recipe = ExportRecipe(data=str(data), val_fraction=0.3, int8=True, num_calibration=8)
    reference = gather_samples(record, student, recipe, SilentConsole()).reference
    specs = record.preprocess.inputs
    prepared = source_logits(prepare_for_export(student, specs), reference.samples, specs)
    parity = compare(reference, lambda _: prepared, batch_sizes=(1,), tolerance=recipe.tolerance)
    assert problems(parity, "fp32", reference.logits, recipe, task="retrieval") == []
    assert parity.top1_agreement == 1.0
    assert parity.metric_drop == pytest.approx(0.0, abs=1e-3)
    coarse = np.rint(prepared * 4).astype(np.float32) / 4
    rough = compare(reference, lambda _: coarse, batch_sizes=(1,), tolerance=None)
    assert rough.sqnr_db < 40
    assert rough.split == "val"


def test_any_timm_network_can_be_a_backbone(recipe, tmp_path):
    options = {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16]}
    record = distill(
        recipe(student="timm:resnet10t", student_options=options, input_size=32, epochs=1),
        tmp_path / "run",
    )
    assert record.arch.arguments["name"] == "resnet10t"
    _, network = load_student(tmp_path / "run")
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 8)


def test_fewer_identities_than_a_batch_wants_make_a_smaller_batch(recipe, tmp_path):
    plan = recipe(retrieval={**RETRIEVAL, "identities_per_batch": 64}, epochs=1)
    assert distill(plan, tmp_path / "run").arch.num_classes == 7


def test_identities_that_processes_cannot_share_are_refused_before_they_start(recipe):
    with pytest.raises(UsageError, match="identities_per_batch 4 is shared by 4 processes"):
        launch(recipe(num_processes=4, accelerator="cpu"))


def test_classification_of_disjoint_classes_is_still_refused(recipe, data, tmp_path):
    with pytest.raises(DataError, match="without a training sample"):
        distill(TrainRecipe(data=str(data), student="resnet8"), tmp_path / "run")


@pytest.mark.parametrize("start", ["its own", "a classifier's"])
def test_weights_to_start_from(recipe, taught, tmp_path, start):
    if start == "its own":
        file = taught[0] / WEIGHTS_FILE
    else:  # a classifier's backbone, whose own head is left out
        _, network = load_student(taught[0])
        tensors = dict(network.backbone.state_dict())
        tensors |= {"fc.weight": torch.zeros(3, 16), "fc.bias": torch.zeros(3)}
        file = tmp_path / "classifier.safetensors"
        safetensors.torch.save_file({k: v.contiguous() for k, v in tensors.items()}, file)
    plan = recipe(weights=file, epochs=1, lr=1e-6, warmup_epochs=0)
    distill(plan, tmp_path / "run")
    before = load_student(taught[0])[1].backbone.stem[0].weight
    after = load_student(tmp_path / "run")[1].backbone.stem[0].weight
    torch.testing.assert_close(after, before, atol=1e-3, rtol=0)
