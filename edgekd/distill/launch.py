"""Processes and devices, through Lightning Fabric: one process, several, torchrun, SLURM."""

import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn

from edgekd.config import TrainRecipe
from edgekd.errors import UsageError


def launch(recipe: TrainRecipe) -> Fabric:
    """A launched Fabric; precision stays with the loop, which measures it.

    Raises:
        UsageError: If the batch cannot be shared evenly, or there is no such accelerator.
    """
    if recipe.num_threads is not None:
        torch.set_num_threads(recipe.num_threads)
    accelerator = recipe.accelerator
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator == "cuda" and not torch.cuda.is_available():
        raise UsageError("accelerator cuda: torch sees no CUDA device here; use cpu or auto")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", recipe.num_processes))
    nodes = max(1, int(os.environ.get("WORLD_SIZE", local)) // local)
    if recipe.batch_size % (local * nodes):
        raise UsageError(
            f"batch_size {recipe.batch_size} is shared by {local * nodes} processes and must be a "
            "multiple of their number"
        )
    backend = "gloo" if accelerator == "cpu" else "nccl"
    several = local * nodes > 1
    fabric = Fabric(
        accelerator=accelerator,
        devices=local,
        num_nodes=nodes,
        strategy=DDPStrategy(process_group_backend=backend) if several else "auto",
    )
    fabric.launch()
    return fabric


def synchronise_norms(module: nn.Module, fabric: Fabric) -> nn.Module:
    """BatchNorm over all processes where torch can (CUDA); on the CPU each keeps its own batch."""
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        synchronised: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return synchronised
    return module
