import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from recording_console import RecordingConsole
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgekd.config import TrainRecipe
from edgekd.distill.launch import launch, synchronise_norms, warn_about_threads
from edgekd.distill.methods.lsskd.branches import LayeredNetwork
from edgekd.errors import UsageError
from edgekd.students.build import build_student, parse_student


def recipe(**changes):
    return TrainRecipe(**({"data": "x", "student": "resnet8", "accelerator": "cpu"} | changes))


def test_one_process_on_the_cpu_by_default():
    fabric = launch(recipe(num_threads=1))
    assert (fabric.world_size, fabric.global_rank, fabric.device.type) == (1, 0, "cpu")
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_threads": 2}, []),
        ({"num_threads": 64}, ["64 threads share 2 core(s) and slow each other down; give fewer"]),
        (
            {"num_threads": 2, "num_processes": 2},
            ["4 threads (2 processes of 2) share 2 core(s) and slow each other down; give fewer"],
        ),
    ],
)
def test_more_threads_than_cores_are_doubted(monkeypatch, changes, said):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    console = RecordingConsole()
    warn_about_threads(recipe(**changes), SimpleNamespace(is_global_zero=True), console)
    assert console.warnings == [f"{line} with --threads" for line in said]


def test_a_batch_that_processes_cannot_share_is_refused_before_they_start():
    with pytest.raises(UsageError, match="batch_size 10 is shared by 4 processes"):
        launch(recipe(batch_size=10, num_processes=4))


def test_processes_of_a_launcher_are_counted_from_its_environment(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "6")
    with pytest.raises(UsageError, match="shared by 6 processes"):
        launch(recipe(batch_size=8))


def test_nodes_of_torchrun_have_as_many_processes_each(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "5")
    with pytest.raises(UsageError, match="5 processes, 2 of them here; give every node as many"):
        launch(recipe())


@pytest.fixture
def slurm(monkeypatch):
    """Sets the variables of one task, as srun does; ``None`` takes one away."""

    def set_variables(**changes):
        task = {"STEP_ID": "0", "PROCID": "0", "LOCALID": "0", "NODEID": "0", "JOB_NAME": "train"}
        job = {"JOB_ID": "77", "NNODES": "1", "NTASKS": "4"}
        for name, value in (task | job | changes).items():
            if value is not None:
                monkeypatch.setenv(f"SLURM_{name}", value)

    # of the job, not of the step; it is put back when the test ends
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "9")
    return set_variables


def test_tasks_of_a_slurm_step_are_counted_from_its_environment(slurm):
    slurm(NTASKS="6", NNODES="2", STEP_TASKS_PER_NODE="3(x2)")
    with pytest.raises(UsageError, match="shared by 6 processes"):
        launch(recipe(batch_size=8))


@pytest.mark.parametrize("shares", [{"NTASKS": "3"}, {"NTASKS": "4", "STEP_TASKS_PER_NODE": "3,1"}])
def test_nodes_of_slurm_have_as_many_tasks_each(slurm, shares):
    slurm(NNODES="2", **shares)
    with pytest.raises(UsageError, match=r"on 2 nodes .*give every node as many"):
        launch(recipe())


@pytest.mark.parametrize(
    "alone",
    [
        {"STEP_ID": None, "PROCID": None, "JOB_NAME": "interactive"},  # a shell of salloc
        {"STEP_ID": None},  # a batch script
        {"JOB_NAME": "bash"},  # a shell of srun
        {"NTASKS": "1"},
    ],
)
def test_a_single_process_inside_slurm_waits_for_no_others(slurm, alone):
    slurm(**alone)
    assert launch(recipe()).world_size == 1


def test_tasks_that_look_like_a_shell_are_refused_instead_of_training_alone(slurm):
    slurm(JOB_NAME="interactive", PROCID="2")
    with pytest.raises(UsageError, match=r"task 2 .* named 'interactive'.*SLURM_JOB_NAME=train"):
        launch(recipe())


TASK = """
import torch
from edgekd.config import TrainRecipe
from edgekd.distill.launch import launch
fabric = launch(TrainRecipe(data="x", student="resnet8", accelerator="cpu", num_threads=1))
total = fabric.all_reduce(torch.tensor(fabric.global_rank + 1), reduce_op="sum").item()
print(fabric.world_size, fabric.global_rank, fabric.local_rank, total)
"""


@pytest.mark.parametrize("nodes", [1, 2])
def test_tasks_of_a_slurm_step_train_together(nodes):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    step = {"STEP_ID": "0", "JOB_NAME": "train", "NTASKS": "2", "NNODES": str(nodes)}
    tasks = []
    for rank in range(2):
        local, node = (rank, 0) if nodes == 1 else (0, rank)
        own = {"PROCID": str(rank), "LOCALID": str(local), "NODEID": str(node)}
        known = {f"SLURM_{name}": value for name, value in (step | own).items()}
        environment = os.environ | known | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, "-c", TASK]
        tasks.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    try:
        said = [task.communicate(timeout=300)[0].split() for task in tasks]
    finally:
        for task in tasks:
            task.kill()
    # two of two, each with its number; 1 + 2 = 3 only where they speak to each other
    second = "1" if nodes == 1 else "0"
    assert said == [["2", "0", "0", "3"], ["2", "1", second, "3"]]


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
