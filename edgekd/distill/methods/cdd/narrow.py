"""Removing dead channels during training, with everything that the optimizer knows of the rest.

What goes is what a dead channel still computes: its row of the indicator, its share of the
convolution behind and, in between, of a depthwise convolution. The convolution and the BatchNorm in
front of the indicator stay whole until the end, because the rows that are left mix all of their
channels. A dead channel gave zeros, so that training goes on exactly as if it were still there.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from edgekd.distill.methods.cdd.indicator import indicated_at
from edgekd.students.blocks import Site
from edgekd.students.surgery import follower_tensors, note_widths

Select = Callable[[Tensor], Tensor]


@torch.no_grad()
def narrow(
    network: nn.Module,
    site: Site,
    kept: Tensor,
    optimizer: torch.optim.Optimizer | None = None,
) -> None:
    """Leave only some channels behind the indicator of a site, in place.

    Args:
        network: With indicators.
        site: Where.
        kept: ``(K,)`` int64, increasing: rows of the indicator that stay, at least one.
        optimizer: Gets the new parameters, with the state of the old ones.
    """
    part = indicated_at(network, site)
    tensors: list[tuple[nn.Module, str, int]] = [(part.indicator, "weight", 0)]
    tensors += [(network.get_submodule(p), name, axis) for p, name, axis in follower_tensors(site)]
    replaced = {}
    for owner, name, axis in tensors:
        old = getattr(owner, name)
        if old is None:
            continue
        select = _selection(axis, kept)
        new = select(old.detach())
        if isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad)
            replaced[old] = (new, select)
        setattr(owner, name, new)
    part.indicator.out_channels = len(kept)
    note_widths(network, site, len(kept))
    if optimizer is not None:
        _move_state(optimizer, replaced)


def narrow_to(network: nn.Module, sites: Sequence[Site], numbers: Sequence[Tensor]) -> None:
    """Give a fresh network the shapes of a narrower one whose values will be loaded, in place."""
    for site, kept in zip(sites, numbers, strict=True):
        if len(kept) < indicated_at(network, site).indicator.out_channels:
            narrow(network, site, kept)


def _selection(axis: int, kept: Tensor) -> Select:
    """A private copy of some entries; kernels with channels last, as the loop lays them out."""

    def select(tensor: Tensor) -> Tensor:
        kernel_axes = 4
        layout = torch.channels_last if tensor.ndim == kernel_axes else torch.contiguous_format
        return tensor.index_select(axis, kept).clone(memory_format=layout)

    return select


def _move_state(
    optimizer: torch.optim.Optimizer,
    replaced: dict[nn.Parameter, tuple[nn.Parameter, Select]],
) -> None:
    for group in optimizer.param_groups:
        group["params"] = [replaced[p][0] if p in replaced else p for p in group["params"]]
    for old, (new, select) in replaced.items():
        state = optimizer.state.pop(old, None)
        if state is not None:
            optimizer.state[new] = {
                name: select(value)
                if isinstance(value, Tensor) and value.shape == old.shape
                else value
                for name, value in state.items()
            }
