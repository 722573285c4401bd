"""Removing dead channels during training, with everything that the optimizer knows of the rest.

The rows that stay are kept as directions ``R`` of unit length and lengths. ``R`` and the BatchNorm
in front of it move into the convolution, which thereby loses the channels too, and a new BatchNorm
and a diagonal indicator with the same lengths take their place. In eval mode the output is the
same; where ``R`` has no entries besides its diagonal, this is plain slicing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from edgekd.distill.methods.cdd.indicator import IndicatedNorm, indicated_at, row_lengths
from edgekd.students.blocks import Site, conv_at
from edgekd.students.surgery import follower_tensors, note_widths, running_statistics

_TINY: Final = 1e-12
Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Narrowing:
    """How the tensors of one site become those of a narrower one."""

    kept: Tensor
    """``(K,)`` int64: rows that stay."""
    mixing: Tensor
    """``(K, C)``: output channels of the new convolution, as sums of the old ones."""
    rotation: Tensor
    """``(K, C)``: rows of unit length."""
    gain: Tensor
    """``(K,)``: weight of the new BatchNorm."""
    variance: Tensor
    """``(K,)``: its running variance."""


@dataclass(frozen=True, kw_only=True)
class _Change:
    owner: nn.Module
    name: str
    value: Map
    state: Map


@torch.no_grad()
def plan_narrowing(network: nn.Module, site: Site, kept: Tensor) -> Narrowing:
    """The narrowing of one site to the rows ``kept``, from the weights it has now.

    The new kernels are as long as the old ones of the same channels, so that they learn at the
    same pace behind their BatchNorm.
    """
    part, conv = indicated_at(network, site), conv_at(network, site.conv)
    norm = part.norm
    rows = part.rows()[kept]
    lengths = row_lengths(rows)
    own = torch.eye(part.rows().shape[1], device=rows.device, dtype=rows.dtype)[kept]
    alive = lengths > _TINY
    rotation = torch.where(alive[:, None], rows / lengths.clamp_min(_TINY)[:, None], own)
    gain = norm.weight / (running_statistics(norm)[1] + norm.eps).sqrt()
    kernels = conv.weight.flatten(1)
    mixed = (rotation * gain) @ kernels
    scale = row_lengths(kernels[kept]) / row_lengths(mixed).clamp_min(_TINY)
    spread = rotation.square() @ norm.weight.square()  # of unrelated channels
    if part.variance is not None:
        spread = torch.where(alive, part.variance[kept] / lengths.clamp_min(_TINY) ** 2, spread)
    variance = spread * scale**2
    return Narrowing(
        kept=kept,
        mixing=rotation * gain * scale[:, None],
        rotation=rotation,
        gain=(variance + norm.eps).sqrt() / scale.clamp_min(_TINY),
        variance=variance,
    )


@torch.no_grad()
def narrow(
    network: nn.Module,
    site: Site,
    plan: Narrowing,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Carry out a narrowing, in place; ``optimizer`` gets the new parameters and their state.

    The plan is one of ``network`` itself: norm and lengths of another one, be it its moving
    average, would take the place of its own.
    """
    part, conv = indicated_at(network, site), conv_at(network, site.conv)
    changes = [*_changes(part, conv, plan), *_follower_changes(network, site, plan.kept)]
    replaced = {}
    for change in changes:
        old = getattr(change.owner, change.name)
        new = _laid_out(change.value(old.detach()))
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad)
            replaced[old] = (new, change.state)
        setattr(change.owner, change.name, new)
    width = len(plan.kept)
    conv.out_channels = part.norm.num_features = width
    part.indicator.in_channels = part.indicator.out_channels = width
    note_widths(network, site, width)
    if optimizer is not None:
        _move_state(optimizer, replaced)


def narrow_to(network: nn.Module, sites: Sequence[Site], numbers: Sequence[Tensor]) -> None:
    """Give a fresh network the shapes of a narrower one whose values will be loaded, in place."""
    for site, kept in zip(sites, numbers, strict=True):
        if len(kept) < conv_at(network, site.conv).out_channels:
            narrow(network, site, plan_narrowing(network, site, kept))


def _changes(part: IndicatedNorm, conv: nn.Conv2d, plan: Narrowing) -> Iterator[_Change]:
    norm, indicator = part.norm, part.indicator

    def mix(tensor: Tensor) -> Tensor:
        mixed: Tensor = torch.tensordot(plan.mixing, tensor, dims=1)
        return mixed

    def rotate(tensor: Tensor) -> Tensor:
        return plan.rotation @ tensor

    def along_rows(tensor: Tensor) -> Tensor:
        shares = (tensor.flatten(1)[plan.kept] * plan.rotation).sum(1)
        return torch.diag(shares)[:, :, None, None]

    yield _Change(owner=conv, name="weight", value=mix, state=mix)
    if conv.bias is not None:
        yield _Change(owner=conv, name="bias", value=mix, state=mix)
    yield _Change(
        owner=norm, name="weight", value=lambda _: plan.gain, state=lambda _: plan.gain * 0
    )
    yield _Change(owner=norm, name="bias", value=rotate, state=rotate)
    yield _Change(owner=norm, name="running_mean", value=mix, state=mix)
    yield _Change(owner=norm, name="running_var", value=lambda _: plan.variance, state=mix)
    yield _Change(owner=indicator, name="weight", value=along_rows, state=along_rows)
    if part.variance is not None:
        select = _selection(0, plan.kept)
        yield _Change(owner=part, name="variance", value=select, state=select)


def _follower_changes(network: nn.Module, site: Site, kept: Tensor) -> Iterator[_Change]:
    for path, name, axis in follower_tensors(site):
        owner = network.get_submodule(path)
        if getattr(owner, name) is not None:
            select = _selection(axis, kept)
            yield _Change(owner=owner, name=name, value=select, state=select)


def _selection(axis: int, kept: Tensor) -> Map:
    return lambda tensor: tensor.index_select(axis, kept)


def _laid_out(tensor: Tensor) -> Tensor:
    """A private copy; kernels with channels last, as the loop lays them out."""
    kernel_axes = 4
    layout = torch.channels_last if tensor.ndim == kernel_axes else torch.contiguous_format
    return tensor.clone(memory_format=layout)


def _move_state(
    optimizer: torch.optim.Optimizer,
    replaced: dict[nn.Parameter, tuple[nn.Parameter, Map]],
) -> None:
    for group in optimizer.param_groups:
        group["params"] = [replaced[p][0] if p in replaced else p for p in group["params"]]
    for old, (new, change) in replaced.items():
        state = optimizer.state.pop(old, None)
        if state is not None:
            optimizer.state[new] = {
                name: _laid_out(change(value))
                if isinstance(value, Tensor) and value.shape == old.shape
                else value
                for name, value in state.items()
            }
