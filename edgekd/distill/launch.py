"""Processes and devices, through Lightning Fabric: one process, several, torchrun, SLURM."""

import os
from dataclasses import dataclass
from typing import Final

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.console import Console
from edgekd.errors import UsageError

_INTERACTIVE: Final = ("bash", "interactive")  # job names of SLURM's shells, as Fabric tells them


@dataclass(frozen=True, kw_only=True)
class _Processes:
    """How many processes train together, and who has started them."""

    on_each_node: int
    nodes: int = 1
    environment: ClusterEnvironment | None = None
    """``None`` where Fabric finds out by itself."""

    @property
    def count(self) -> int:
        return self.on_each_node * self.nodes


def launch(recipe: TrainRecipe) -> Fabric:
    """A launched Fabric; precision stays with the loop, which measures it.

    The processes are those that torchrun has started, or srun in a step of several tasks;
    otherwise ``recipe.num_processes`` are started here.

    Raises:
        UsageError: If the batch cannot be shared evenly, there is no such accelerator, nodes
            have different numbers of processes, or SLURM's tasks cannot be told from a shell.
    """
    accelerator = recipe.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise UsageError("accelerator cuda: torch sees no CUDA device here; use cpu or auto")
    processes = _find_processes(recipe)
    _check_shares(recipe, processes.count)
    backend = "gloo" if accelerator == "cpu" else "nccl"
    fabric = Fabric(
        accelerator=accelerator,
        devices=processes.on_each_node,
        num_nodes=processes.nodes,
        strategy=DDPStrategy(process_group_backend=backend) if processes.count > 1 else "auto",
        plugins=processes.environment,
    )
    fabric.launch()
    if recipe.num_threads is not None:  # after Fabric, which divides the cores among processes
        torch.set_num_threads(recipe.num_threads)
    return fabric


def warn_about_threads(recipe: TrainRecipe, fabric: Fabric, console: Console) -> None:
    """Say where more threads were asked for than there are cores."""
    cores = len(os.sched_getaffinity(0))
    wanted = (recipe.num_threads or 1) * recipe.num_processes
    if fabric.is_global_zero and wanted > cores:
        of = f" ({recipe.num_processes} processes of {recipe.num_threads or 1})"
        console.warn(
            f"{wanted} threads{of if recipe.num_processes > 1 else ''} share {cores} core(s) and "
            "slow each other down; give fewer with --threads"
        )


def _find_processes(recipe: TrainRecipe) -> _Processes:
    if "LOCAL_WORLD_SIZE" in os.environ:  # torchrun, which may itself run inside SLURM
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        count = int(os.environ.get("WORLD_SIZE", local))
        if count % local:
            raise UsageError(
                f"torchrun has {count} processes, {local} of them here; give every node as many"
            )
        return _Processes(on_each_node=local, nodes=count // local)
    if _in_slurm_step():
        return _slurm_processes()
    # A batch script is told of the job's tasks but is none of them: Fabric would wait for others.
    alone = LightningEnvironment() if "SLURM_NTASKS" in os.environ else None
    return _Processes(on_each_node=recipe.num_processes, environment=alone)


def _in_slurm_step() -> bool:
    """Whether srun has started this process as one of several.

    Only srun gives a process a step. Batch scripts and the shells of ``salloc`` see the tasks of
    their job, and a batch script a ``SLURM_PROCID`` too, though they are single processes.
    """
    step = {"SLURM_STEP_ID", "SLURM_PROCID", "SLURM_NTASKS"} <= os.environ.keys()
    if not step or int(os.environ["SLURM_NTASKS"]) == 1:
        return False
    name, number = os.environ.get("SLURM_JOB_NAME"), int(os.environ["SLURM_PROCID"])
    if name in _INTERACTIVE and number > 0:  # a shell is the first of its step
        raise UsageError(
            f"this is task {number} of a SLURM job named {name!r}, which is the name of a shell "
            "that works alone; start it with SLURM_JOB_NAME=train srun ..."
        )
    return name not in _INTERACTIVE


def _slurm_processes() -> _Processes:
    count, nodes = int(os.environ["SLURM_NTASKS"]), int(os.environ.get("SLURM_NNODES", 1))
    shares = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")  # "4(x2)"; "3,1" where they differ
    if count % nodes or "," in shares:
        raise UsageError(
            f"SLURM runs {count} tasks on {nodes} nodes ({shares or 'not the same on each'}); "
            "give every node as many, with --ntasks-per-node"
        )
    # Fabric asks for it and compares; srun -n does not set it, and a job's may not be its step's.
    os.environ["SLURM_NTASKS_PER_NODE"] = str(count // nodes)
    return _Processes(on_each_node=count // nodes, nodes=nodes, environment=SLURMEnvironment())


def _check_shares(recipe: TrainRecipe, num_processes: int) -> None:
    if recipe.batch_size != "auto" and recipe.batch_size % num_processes:
        raise UsageError(
            f"batch_size {recipe.batch_size} is shared by {num_processes} processes and must be a "
            "multiple of their number"
        )
    identities = recipe.retrieval.identities_per_batch
    if recipe.task == "retrieval" and (
        identities % num_processes or identities < 2 * num_processes
    ):
        raise UsageError(
            f"identities_per_batch {identities} is shared by {num_processes} processes, each of "
            "which compares whole identities: give a multiple of their number, at least two each"
        )


def synchronise_norms(module: nn.Module, fabric: Fabric) -> nn.Module:
    """BatchNorm over all processes where torch can (CUDA); on the CPU each keeps its own batch."""
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        # timm's own: torch's would leave out the activations inside timm's norms
        synchronised: nn.Module = convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return synchronised
    return module
