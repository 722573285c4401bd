"""Bundles of ``edgekd teach --task retrieval`` as teachers."""

import pytest
import torch
from tiny_bundle import write_tiny_bundle

from edgekd.bundle import TRAINING_HEAD_FILE
from edgekd.errors import BundleError, ModelError
from edgekd.records import Preprocess
from edgekd.students.taps import stage_layers

NEEDS = frozenset({"logits", "embedding"})


@pytest.fixture
def taught(tmp_path, image, classes):
    folder = tmp_path / "taught"
    return folder, write_tiny_bundle(folder, Preprocess(inputs=(image,)), classes, embedding_dim=6)


@torch.no_grad()
def test_answers_embedding_and_identity_logits(taught, opened, view, normalised):
    folder, network = taught
    teacher = opened(folder, needs=NEEDS)
    output, expected = teacher(view), network(normalised)
    torch.testing.assert_close(output.embedding, expected.embedding, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.logits, expected.logits, rtol=1e-4, atol=1e-5)
    assert output.pooled == ()
    assert {"logits", "embedding"} <= teacher.gives
    assert teacher.num_classes == 5


@torch.no_grad()
def test_pooled_outputs_of_the_layers_a_method_chooses(taught, opened, view, normalised):
    folder, network = taught
    needs = NEEDS | {"pooled"}
    teacher = opened(folder, needs=needs, layers=stage_layers)
    pooled = teacher(view).pooled
    maps = network.network.backbone.forward_stages(normalised)
    for found, expected in zip(pooled, maps, strict=True):
        torch.testing.assert_close(found, expected.mean((2, 3)), rtol=1e-4, atol=1e-5)
    with pytest.raises(ModelError, match="also needs pooled"):
        opened(folder, needs=needs)  # nothing was chosen


def test_identities_must_be_the_datas(taught, opened):
    with pytest.raises(ModelError, match="its class 4 is 'eel', the data's is 'fox'"):
        opened(taught[0], needs=NEEDS, class_names=("ant", "bee", "cat", "dog", "fox"))


def test_a_deployed_copy_without_its_head_cannot_teach(taught, opened):
    (taught[0] / TRAINING_HEAD_FILE).unlink()
    with pytest.raises(BundleError, match="teaching needs it; copy it from the folder of the run"):
        opened(taught[0], needs=NEEDS)


def test_an_altered_head_is_refused(taught, opened):
    head = taught[0] / TRAINING_HEAD_FILE
    head.write_bytes(head.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="its sha256 differs"):
        opened(taught[0], needs=NEEDS)


def test_the_tasks_of_teacher_and_student_must_agree(taught, bundle, opened):
    with pytest.raises(ModelError, match="was taught retrieval, the student learns classification"):
        opened(taught[0])
    with pytest.raises(ModelError, match="was taught classification, the student learns retrieval"):
        opened(bundle[0], needs=NEEDS)


def test_other_kinds_of_teacher_give_no_embedding(opened):
    with pytest.raises(ModelError, match="gives no embedding; for retrieval give the folder"):
        opened("timm:resnet10t", needs=NEEDS)
