"""The method through the whole of ``distill``: bundle, history, interruption."""

import json
import signal
import subprocess
import sys

import pytest
import torch
from identity_folder import write_identities

from edgekd.config import TrainRecipe, to_toml
from edgekd.distill.methods.cdd import CapacityDynamicDistillation
from edgekd.distill.methods.cdd.indicator import indicated_norms
from edgekd.distill.run import distill
from edgekd.errors import InterruptedRun
from edgekd.students.build import load_student


def recipe(**changes):
    plan = {
        "data": "builtin:digits",
        "student": "resnet8",
        "student_options": {"width": 8},
        "epochs": 1,
        "batch_size": 128,
        "precision": "fp32",
        "num_threads": 1,
    }
    return TrainRecipe(**(plan | changes))


def cdd(teacher, **changes):
    # an epoch without masks, then two with
    table = {"target_macs": 0.5, "queue_size": 256, "mask_from": 0.34, **changes}
    return recipe(teacher=str(teacher[0]), method="cdd", epochs=3, lr=0.05, cdd=table)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "run"
    return folder, distill(recipe(), folder)


@pytest.fixture(scope="module")
def student(teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("student") / "run"
    return folder, distill(cdd(teacher, shrink_while_training=True), folder)


def test_the_bundle_is_a_plain_network_of_the_wanted_size(teacher, student):
    folder, record = student
    assert record.macs / teacher[1].macs == pytest.approx(0.5, rel=0.02)
    assert record.num_params < teacher[1].num_params
    again, module = load_student(folder)
    assert again == record
    assert record.arch.merged
    assert indicated_norms(module) == []
    answer = module(torch.zeros(2, 1, 8, 8))
    assert answer.shape == (2, 10)
    assert (folder / "weights.safetensors").stat().st_size < (
        (teacher[0] / "weights.safetensors").stat().st_size
    )


def test_the_history_tells_what_is_left_of_every_block(student):
    folder, record = student
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    names = ["kept/stages.0.0", "kept/stages.1.0", "kept/stages.2.0"]
    assert [rows[0][name] for name in names] == [8, 16, 32]
    assert tuple(rows[-1][name] for name in names) == record.arch.widths
    assert rows[-1]["macs_share"] == pytest.approx(0.5, rel=0.02)
    assert {"fit_loss", "kd_loss", "compression_loss", "seconds_saved"} <= rows[-1].keys()


@pytest.mark.parametrize("shrink", [False, True])
def test_an_interrupted_second_phase_ends_with_the_same_weights(
    teacher, student, tmp_path, monkeypatch, shrink
):
    plan = cdd(teacher, shrink_while_training=shrink)
    whole = student[1] if shrink else distill(plan, tmp_path / "whole")
    after_step = CapacityDynamicDistillation.after_step
    steps = []

    def interrupted(self, module):
        after_step(self, module)
        steps.append(self)
        if len(steps) == 23:  # in the middle of the third of three epochs of nine steps
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(CapacityDynamicDistillation, "after_step", interrupted)
    with pytest.raises(InterruptedRun):
        distill(plan, tmp_path / "run")
    again = distill(plan, tmp_path / "run", resume=True)
    assert len({id(method) for method in steps}) == 2
    assert again.weights_sha256 == whole.weights_sha256
    assert again.arch == whole.arch


def test_retrieval_ends_at_its_size_as_a_network_that_answers_embeddings(tmp_path):
    data = write_identities(tmp_path / "data", train=10, test=5, images=6)
    head = {"embedding_dim": 8, "identities_per_batch": 4, "images_per_identity": 3}
    common = {"data": str(data), "task": "retrieval", "retrieval": head, "val_fraction": 0.3}
    common |= {"student": "resnet8", "student_options": {"width": 8}, "precision": "fp32"}
    taught = distill(TrainRecipe(**common, epochs=1, num_threads=1), tmp_path / "teacher")
    table = {"target_params": 0.5, "queue_size": 24, "shrink_while_training": True}
    more = {"teacher": str(tmp_path / "teacher"), "method": "cdd", "cdd": table}
    plan = TrainRecipe(**common, **more, epochs=6, num_threads=1)
    record = distill(plan, tmp_path / "student")
    # of what is deployed: the classifier of the training identities counts nowhere
    assert record.num_params / taught.num_params == pytest.approx(0.5, rel=0.02)
    _, network = load_student(tmp_path / "student")
    assert network(torch.zeros(2, 3, 24, 24)).shape == (2, 8)
    rows = (tmp_path / "student" / "history.jsonl").read_text().splitlines()
    last = json.loads(rows[-1])
    assert {"triplet_loss", "label_loss", "kd_loss", "fit_loss"} <= last.keys()
    assert last["params_share"] == pytest.approx(record.num_params / taught.num_params)


def test_two_processes_shrink_alike(teacher, tmp_path):
    """Parameters are replaced in both; gradients would no longer fit if the masks differed."""
    plan = cdd(teacher, shrink_while_training=True)
    recipe_file = tmp_path / "recipe.toml"
    recipe_file.write_text(to_toml(plan))
    output = tmp_path / "run"
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    work = ["-m", "edgekd", "distill", "--recipe", str(recipe_file), "-o", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *work], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    record, _ = load_student(output)
    assert record.macs / teacher[1].macs == pytest.approx(0.5, rel=0.02)


@pytest.mark.filterwarnings("ignore:.*hardly better than chance")  # one epoch of noise
@pytest.mark.parametrize("name", ["timm:mobilenetv2_050", "timm:mobilenetv3_small_050"])
def test_a_mobilenet_ends_as_a_plain_mobilenet(name, tmp_path):
    """Kernels of 1x1 convolutions, merged as products, answer bit for bit like loaded ones."""
    data = write_identities(tmp_path / "data", train=10, test=5, images=6)
    head = {"embedding_dim": 8, "identities_per_batch": 4, "images_per_identity": 3}
    common = {"data": str(data), "task": "retrieval", "retrieval": head, "val_fraction": 0.3}
    common |= {"student": name, "input_size": 32, "precision": "fp32", "num_threads": 1}
    distill(TrainRecipe(**common, epochs=1), tmp_path / "teacher")
    table = {"target_params": 0.85, "queue_size": 24}
    more = {"teacher": str(tmp_path / "teacher"), "method": "cdd", "lr": 0.01, "cdd": table}
    record = distill(TrainRecipe(**common, **more, epochs=2), tmp_path / "student")
    assert record.arch.merged
    assert load_student(tmp_path / "student")[0] == record
