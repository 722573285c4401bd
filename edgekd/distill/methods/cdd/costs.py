"""What one channel of every site costs, so that an end size can be steered to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

from edgekd.students.blocks import Site, conv_at, find_sites
from edgekd.students.count import count_cost
from edgekd.students.head import IdentityNetwork

Unit = Literal["macs", "params"]
UNITS: Final[tuple[Unit, ...]] = ("macs", "params")


@dataclass(frozen=True, kw_only=True)
class SiteCosts:
    """A network's cost as a function of the channels its sites keep; exact, and linear.

    Sites share no module, so ``cost = fixed + sum_b per_channel[b] * kept[b]``, counted on the
    merged network (a bias per channel where a BatchNorm was).
    """

    full: int
    """Cost of the network before anything is merged or removed."""
    fixed: int
    per_channel: tuple[int, ...]

    def of(self, kept: Sequence[int]) -> int:
        """Cost when site ``b`` keeps ``kept[b]`` channels."""
        return self.fixed + sum(c * n for c, n in zip(self.per_channel, kept, strict=True))


def deployed_costs(student: nn.Module, input_shape: tuple[int, ...]) -> dict[Unit, SiteCosts]:
    """The costs in both units of what is deployed of a student without indicators."""
    deployed = student.network if isinstance(student, IdentityNetwork) else student
    sites = find_sites(deployed)
    return {unit: measure_costs(deployed, sites, input_shape, unit) for unit in UNITS}


def measure_costs(
    network: nn.Module, sites: Sequence[Site], input_shape: tuple[int, ...], unit: Unit
) -> SiteCosts:
    """Count a network and its sites by running it once on zeros.

    Args:
        network: With BatchNorms and without indicators; what will be deployed and no more.
        sites: Its sites.
        input_shape: ``(C, H, W)``.
        unit: What is counted.
    """
    widths = [conv_at(network, site.conv).out_channels for site in sites]
    if unit == "params":
        full = sum(parameter.numel() for parameter in network.parameters())
        merged = [_params_per_channel(network, site) for site in sites]
        # Before merging: a weight and a bias of the BatchNorm instead of the bias.
        before = [
            cost + (2 if conv_at(network, site.conv).bias is not None else 1)
            for cost, site in zip(merged, sites, strict=True)
        ]
    else:
        areas, full = _run(network, sites, input_shape)
        merged = before = [_macs_per_channel(network, site, areas) for site in sites]
    fixed = full - sum(c * n for c, n in zip(before, widths, strict=True))
    return SiteCosts(full=full, fixed=fixed, per_channel=tuple(merged))


def _layers(site: Site) -> tuple[str, ...]:
    squeeze = site.squeeze or ()
    depthwise = () if site.depthwise is None else (site.depthwise,)
    return (site.conv, site.consumer, *depthwise, *squeeze)


def _params_per_channel(network: nn.Module, site: Site) -> int:
    total = _kernel(network, site.conv, axis=0) + 1  # the merged bias
    total += _kernel(network, site.consumer, axis=1)
    if site.depthwise is not None:
        total += _kernel(network, site.depthwise, axis=0) + 2  # with its BatchNorm
        total += 1 if conv_at(network, site.depthwise).bias is not None else 0
    if site.squeeze is not None:
        reduce, expand = site.squeeze
        total += _kernel(network, reduce, axis=1) + _kernel(network, expand, axis=0)
        total += 1 if conv_at(network, expand).bias is not None else 0
    return total


def _macs_per_channel(network: nn.Module, site: Site, areas: dict[str, int]) -> int:
    inputs = {site.consumer, site.squeeze[0] if site.squeeze else ""}
    return sum(
        areas[path] * _kernel(network, path, axis=1 if path in inputs else 0)
        for path in _layers(site)
    )


def _kernel(network: nn.Module, path: str, *, axis: int) -> int:
    """Weights of one output (axis 0) or input (axis 1) channel."""
    weight = conv_at(network, path).weight
    return weight.numel() // weight.shape[axis]


def _run(
    network: nn.Module, sites: Sequence[Site], input_shape: tuple[int, ...]
) -> tuple[dict[str, int], int]:
    """Output positions of every layer of the sites, and the MACs of the whole network."""
    areas: dict[str, int] = {}

    def note(path: str) -> torch.utils.hooks.RemovableHandle:
        def read(_layer: nn.Module, _inputs: object, output: Tensor) -> None:
            areas[path] = output.shape[2] * output.shape[3]

        return network.get_submodule(path).register_forward_hook(read)

    hooks = [note(path) for site in sites for path in _layers(site)]
    try:
        cost = count_cost(network, [input_shape])
    finally:
        for hook in hooks:
            hook.remove()
    return areas, cost.macs
