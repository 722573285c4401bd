"""Processes and devices, through Lightning Fabric: one process, several, torchrun, SLURM."""

import os

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]
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
    _check_shares(recipe, local * nodes)
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
