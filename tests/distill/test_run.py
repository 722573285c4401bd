import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgekd.bundle import read_bundle
from edgekd.config import AugmentRecipe, TrainRecipe
from edgekd.console import SilentConsole
from edgekd.data.cache import InputSource
from edgekd.data.open import open_dataset
from edgekd.distill.checkpoint import read_checkpoint, write_checkpoint
from edgekd.distill.material import Material
from edgekd.distill.methods.none import LabelsOnly
from edgekd.distill.methods.protocol import Losses, Method
from edgekd.distill.run import distill
from edgekd.errors import BundleError, ModelError
from edgekd.evaluate.classification import predict
from edgekd.students.build import load_student


def recipe(**changes):
    plan = {
        "data": "builtin:digits",
        "student": "resnet8",
        "student_options": {"width": 8},
        "epochs": 3,
        "lr": 0.1,
        "precision": "fp32",
        "num_threads": 1,
    }
    return TrainRecipe(**(plan | changes))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    return folder, distill(recipe(student_options={"width": 16}, epochs=4), folder)


def test_a_taught_network_learns_and_its_bundle_says_how_it_was_made(teacher):
    folder, record = teacher
    val, test = record.metrics
    assert (val.split, test.split) == ("val", "test")
    assert test.value > 0.9
    assert record == read_bundle(folder)
    provenance = record.provenance
    assert provenance.recipe["epochs"] == 4
    assert provenance.teacher is None
    assert provenance.data.num_samples["test"] == test.num_samples
    assert record.labels == tuple("0123456789")


def test_the_metric_in_the_bundle_is_that_of_its_weights(teacher):
    folder, record = teacher
    _, module = load_student(folder)
    data = open_dataset(recipe(), SilentConsole())
    samples = data.splits["test"]
    specs = record.preprocess.inputs
    logits = predict(module, InputSource(samples, specs), specs)
    assert np.mean(logits.argmax(axis=1) == samples.labels) == record.metrics[1].value


def test_a_distilled_student_names_its_teacher(teacher, tmp_path):
    folder, taught = teacher
    record = distill(recipe(teacher=str(folder), method="kd"), tmp_path / "student")
    assert record.provenance.teacher.sha256 == taught.weights_sha256
    rows = [
        json.loads(line)
        for line in (tmp_path / "student" / "history.jsonl").read_text().splitlines()
    ]
    assert {"kd_loss", "label_loss", "train_loss", "val_top1"} <= rows[-1].keys()
    weighed = [0.9 * row["kd_loss"] + 0.1 * row["label_loss"] for row in rows]
    assert [row["train_loss"] for row in rows] == pytest.approx(weighed, rel=1e-5)


class Foreign(Method):
    """A guest that leaves a network of no family of edgekd, and something to know about it."""

    def losses(self, module, batch):
        total = torch.nn.functional.cross_entropy(module(*batch.inputs), batch.targets)
        return Losses(total=total, terms={"label_loss": total.detach()})

    def finish(self, module):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10, bias=False))

    def finished_arch(self, arch):
        return arch.model_copy(update={"family": "elsewhere"})

    def notes(self):
        return ("was made elsewhere",)


def test_a_guest_may_leave_a_network_that_edgekd_cannot_build(tmp_path):
    with pytest.warns(UserWarning, match=r"run: was made elsewhere"):
        record = distill(recipe(epochs=1), tmp_path / "run", guest=Foreign())
    assert record == read_bundle(tmp_path / "run")
    assert (record.arch.family, record.notes) == ("elsewhere", ("was made elsewhere",))
    assert (record.num_params, record.macs) == (640, 640)
    assert record.metrics[0].num_samples > 0


def test_what_edgekd_makes_itself_it_can_build(tmp_path, monkeypatch):
    arch = LabelsOnly.finished_arch
    monkeypatch.setattr(
        LabelsOnly,
        "finished_arch",
        lambda self, given: arch(self, given).model_copy(update={"family": "elsewhere"}),
    )
    with pytest.raises(ModelError, match="elsewhere"):
        distill(recipe(epochs=1), tmp_path / "run")


def test_the_teacher_is_left_out_of_the_checkpoint(teacher, tmp_path):
    distill(recipe(teacher=str(teacher[0]), method="kd", epochs=1), tmp_path / "student")
    checkpoint = read_checkpoint(tmp_path / "student" / "checkpoint.safetensors")
    own = {name for name, _ in load_student(tmp_path / "student")[1].state_dict().items()}
    assert checkpoint.parts.keys() == {"student"}
    assert checkpoint.parts["student"].keys() == own


def test_a_tuning_run_is_scored_on_val_alone(tmp_path, monkeypatch):
    read, score = [], Material.score

    def noted(self, module, split):
        read.append(split)
        return score(self, module, split)

    monkeypatch.setattr(Material, "score", noted)
    tuned = distill(recipe(epochs=1, score_test=False), tmp_path / "tuned")
    assert read == ["val"]
    finished = distill(recipe(epochs=1), tmp_path / "finished")
    assert tuned.metrics == finished.metrics[:1]
    assert tuned.weights_sha256 == finished.weights_sha256
    assert read_bundle(tmp_path / "tuned").provenance.recipe["score_test"] is False


def without_a_tensor(checkpoint):
    student = dict(checkpoint.parts["student"])
    del student[min(student)]
    return replace(checkpoint, parts={"student": student})


def without_a_group(checkpoint):
    groups = checkpoint.optimizer["param_groups"][:-1]
    return replace(checkpoint, optimizer={**checkpoint.optimizer, "param_groups": groups})


def with_unknown_progress(checkpoint):
    progress = checkpoint.facts["progress"] | {"invented": 1}
    return replace(checkpoint, facts={**checkpoint.facts, "progress": progress})


@pytest.mark.parametrize("change", [without_a_tensor, without_a_group, with_unknown_progress])
def test_a_checkpoint_of_another_network_is_one_clear_error(teacher, tmp_path, change):
    folder = shutil.copytree(teacher[0], tmp_path / "run")
    (folder / "bundle.json").unlink()
    path = folder / "checkpoint.safetensors"
    write_checkpoint(path, change(read_checkpoint(path)))
    with pytest.raises(BundleError, match="does not fit the network and optimizer") as failure:
        distill(recipe(student_options={"width": 16}, epochs=4), folder, resume=True)
    assert "\n" not in str(failure.value)


def test_the_average_is_what_is_kept(tmp_path):
    distill(recipe(ema_decay=0.9, epochs=1), tmp_path / "run")
    parts = read_checkpoint(tmp_path / "run" / "checkpoint.safetensors").parts
    kept = load_student(tmp_path / "run")[1].state_dict()
    average = {f"module.{name}": tensor for name, tensor in kept.items()}
    assert parts["average"].keys() == {"n_averaged", *average}
    for name, tensor in average.items():
        assert torch.equal(tensor, parts["average"][name]), name
    assert not torch.equal(kept["fc.weight"], parts["student"]["fc.weight"])


def test_same_seed_same_weights_other_seed_other_weights(tmp_path):
    everything = AugmentRecipe(crop_padding=1, flip=True, randaugment=5, mixup=0.2)
    plan = recipe(epochs=1, augment=everything)
    first = distill(plan, tmp_path / "a").weights_sha256
    assert distill(plan, tmp_path / "b").weights_sha256 == first
    other = plan.model_copy(update={"seed": 1})
    assert distill(other, tmp_path / "c").weights_sha256 != first


def test_a_method_without_the_teacher_it_needs_fails_before_training(tmp_path):
    with pytest.raises(ModelError, match="add --teacher"):
        distill(recipe(method="kd"), tmp_path / "student")


def test_a_student_of_images_is_refused_sensor_windows_with_the_reason(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "sensors.npz"
    labels = np.arange(60) % 2
    np.savez(path, x_acc=rng.normal(size=(60, 3, 20)).astype(np.float32), y=labels)
    with pytest.raises(ModelError, match="takes one image, the data have acc"):
        distill(recipe(data=str(path)), tmp_path / "run")
