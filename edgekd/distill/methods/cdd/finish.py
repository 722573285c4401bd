"""Turning a trained network with indicators into the plain one that is deployed."""

import copy
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from edgekd.config import CddRecipe
from edgekd.distill.methods.cdd.channels import Channels
from edgekd.distill.methods.cdd.compression import clear_channels
from edgekd.distill.methods.cdd.indicator import indicated_at, insert_indicators
from edgekd.errors import ModelError
from edgekd.students.blocks import Site, replace_at, site_widths
from edgekd.students.head import deployed_answer
from edgekd.students.surgery import merge_site

_TOLERANCE: Final = 1e-4  # of the largest number in the answer; rounding is below 1e-5


@torch.no_grad()
def merge_indicators(
    network: nn.Module,
    sites: Sequence[Site],
    survivors: Sequence[Tensor],
    input_shape: tuple[int, ...],
) -> None:
    """Merge every indicator and remove the channels that do not survive, in place.

    Args:
        network: With indicators; left in eval mode, without any.
        sites: Where they are.
        survivors: ``(K,)`` int64 per site: the rows that stay.
        input_shape: ``(C, H, W)``.

    Raises:
        ModelError: If the answer changes: then the blocks are not what their modules look like,
            and nothing of the network may be deployed.
    """
    for site, kept in zip(sites, survivors, strict=True):
        part = indicated_at(network, site)
        goes = torch.ones(len(part.rows()), dtype=torch.bool)
        goes[kept.cpu()] = False
        clear_channels(part.indicator.weight, site.follower(network), goes)
    before = _answer(network, input_shape)
    for site, kept in zip(sites, survivors, strict=True):
        part = indicated_at(network, site)
        merge_site(network, site, part.norm, part.rows(), kept)
        replace_at(network, site.norm, part.activation)
    error = float((_answer(network, input_shape) - before).abs().max())
    if not error <= _TOLERANCE * float(before.abs().max()):  # NaN is no small error
        raise ModelError(
            f"{type(network).__name__}: merging changed its answer by {error:.2g}; its blocks "
            "compute something else than their modules say; use method kd"
        )


def require_mergeable(
    student: nn.Module, sites: Sequence[Site], input_shape: tuple[int, ...]
) -> None:
    """Merge a copy before hours are spent on what could not be merged in the end.

    Raises:
        ModelError: See :func:`merge_indicators`.
    """
    trial = copy.deepcopy(student)
    insert_indicators(trial, sites)
    halves = [torch.arange((width + 1) // 2) for width in site_widths(trial, sites)]
    merge_indicators(trial, sites, halves, input_shape)


def all_stayed(recipe: CddRecipe, channels: Sequence[Channels]) -> str:
    """What to say of a run without a target that removed nothing."""
    masked = sum(int((~part.mask).sum()) for part in channels)
    full = sum(part.full for part in channels)
    return (
        f"no channel was removed: {masked:,} of {full:,} were masked "
        "and none of them came to zero; name a size with --target-macs, train for more epochs, or "
        f"raise cdd.compression ({recipe.compression:g})"
    )


def _answer(network: nn.Module, input_shape: tuple[int, ...]) -> Tensor:
    """What a network answers in eval mode to two images of noise, ``(2, ...)`` float64.

    On the CPU: other devices may round the factors of a product to fewer digits than are compared.
    """
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(2, *input_shape, generator=noise)
    return deployed_answer(copy.deepcopy(network.eval()).cpu()(images)).double()
