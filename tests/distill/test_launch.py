from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgekd.config import TrainRecipe
from edgekd.distill.launch import launch, synchronise_norms
from edgekd.distill.methods.lsskd.branches import LayeredNetwork
from edgekd.errors import UsageError
from edgekd.students.build import build_student, parse_student


def recipe(**changes):
    return TrainRecipe(**({"data": "x", "student": "resnet8", "accelerator": "cpu"} | changes))


def test_one_process_on_the_cpu_by_default():
    fabric = launch(recipe(num_threads=1))
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")
    assert torch.get_num_threads() == 1


def test_a_batch_that_processes_cannot_share_is_refused_before_they_start():
    with pytest.raises(UsageError, match="batch_size 10 is shared by 4 processes"):
        launch(recipe(batch_size=10, num_processes=4))


def test_processes_of_a_launcher_are_counted_from_its_environment(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "6")
    with pytest.raises(UsageError, match="shared by 6 processes"):
        launch(recipe(batch_size=8))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_an_accelerator_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="torch sees no CUDA device"):
        launch(recipe(accelerator="cuda"))


def test_norms_of_a_single_process_stay_what_they_are():
    module = nn.Sequential(nn.BatchNorm2d(2))
    assert synchronise_norms(module, launch(recipe())) is module


def test_on_several_gpus_every_norm_is_synchronised_those_of_branches_too():
    """What is synchronised is what a method attached; its answer, branches and all, stays."""
    torch.manual_seed(0)
    plan = {"num_classes": 3, "in_channels": 1, "input_size": (8, 8)}
    x = torch.randn(2, 1, 8, 8)
    network = LayeredNetwork(
        build_student(parse_student("resnet8", {"width": 4}, **plan)),
        [x],
        num_classes=3,
        num_transformations=2,
        kind="copy",
    ).eval()
    before = network.answer_all(x)
    gpus = SimpleNamespace(world_size=2, device=torch.device("cuda"))
    converted = synchronise_norms(network, gpus)
    norms = [part for part in converted.modules() if isinstance(part, _BatchNorm)]
    assert {type(norm) for norm in norms} == {nn.SyncBatchNorm}
    assert {type(branch.norm) for branch in converted.branches} == {nn.SyncBatchNorm}
    after = converted.answer_all(x)
    assert torch.equal(after.logits, before.logits)
    assert all(torch.equal(a, b) for a, b in zip(after.joint, before.joint, strict=True))
