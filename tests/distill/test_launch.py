import pytest
import torch
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.distill.launch import launch, synchronise_norms
from edgekd.errors import UsageError


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
