"""Factors for the channels of a group, and which of several makes 8 bits err least.

Rounding to 8 bits hurts where the channels of one tensor differ much in size: activations have one
scale for all of them, and the weights of one output one scale for all inputs. A factor per channel
moves size from one to the other. How much of it should move is no matter of taste: each proposal
is tried on the layers that read the channels, and the one with the least error of their answers is
taken, or none.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from edgekd.export.adjustments.apply import factors, read_factors
from edgekd.export.adjustments.groups import ScaleGroup
from edgekd.export.adjustments.record import LARGEST_STEP, STEPS_PER_OCTAVE, ChannelScaling
from edgekd.export.adjustments.trace import Layer, Trace

_ALPHAS: Final = (0.25, 0.5, 0.75, 1.0)  # Xiao et al. use 0.5, and up to 0.9 where outliers are
_TRIED_ON: Final = 8  # samples whose values are kept: bounds memory
_WORTH: Final = 0.9  # of the error as it was: less of a gain is left alone
_LEVELS: Final = 255
_LARGEST_WEIGHT: Final = 127


@dataclass(kw_only=True, eq=False)
class Seen:
    """What a product was given while samples passed.

    Attributes:
        largest: ``(C,)``, of all values of each channel; ``None`` before the first sample.
        calls: Values of its arguments, of the first few samples.
    """

    largest: Tensor | None = None
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def add(self, layer: Layer, values: tuple[Any, ...]) -> None:
        """Take one sample."""
        x: Tensor = values[0]
        largest = x.abs().amax([axis for axis in range(x.dim()) if axis != layer.axis]).double()
        self.largest = largest if self.largest is None else torch.maximum(self.largest, largest)
        if len(self.calls) < _TRIED_ON:
            self.calls.append(values)


def watch(
    trace: Trace, groups: Sequence[ScaleGroup], samples: Sequence[Sequence[Tensor]]
) -> Mapping[fx.Node, Seen]:
    """What all consumers of the groups read.

    Args:
        trace: Of the network.
        groups: Of it.
        samples: Each one batch of one per input.
    """
    layers = {layer.node: layer for group in groups for layer in group.consumers}
    seen = {node: Seen() for node in layers}
    for sample in samples:
        trace.run(sample, layers.keys(), lambda node, values: seen[node].add(layers[node], values))
    return seen


@torch.no_grad()
def best_scaling(
    network: nn.Module, group: ScaleGroup, seen: Mapping[fx.Node, Seen]
) -> ChannelScaling | None:
    """The proposal with the least error; ``None`` where none is clearly better than nothing.

    Args:
        network: Whose parameters are asked, with earlier scalings in them.
        group: Of it.
        seen: What its consumers read.
    """
    nothing = (0,) * group.channels
    least, best = _WORTH * _error(network, group, seen, nothing), None
    for alpha, steps in _proposals(network, group, seen):
        error = _error(network, group, seen, steps) if any(steps) else least
        if error < least:
            least, best = error, (alpha, steps)
    if best is None:
        return None
    return ChannelScaling(
        kind="smoothing" if group.only_norms_produce else "equalization",
        alpha=best[0],
        divided=tuple(name for layer in group.producers for name in layer.parameters),
        multiplied=tuple(layer.weight for layer in group.consumers),
        eighths=best[1],
    )


def _proposals(
    network: nn.Module, group: ScaleGroup, seen: Mapping[fx.Node, Seen]
) -> Iterator[tuple[float | None, tuple[int, ...]]]:
    """``alpha`` and the factors, in steps, of every way to set them."""
    read = _largest_read(network, group)
    if not group.only_norms_produce:
        yield None, steps_of(by_weights(_largest_made(network, group), read))
    largest = [seen[layer.node].largest for layer in group.consumers]
    known = [found for found in largest if found is not None]
    if known:
        values = torch.stack(known).amax(0)
        for alpha in _ALPHAS:
            yield alpha, steps_of(by_activations(values, read, alpha))


def by_weights(made: Tensor, read: Tensor) -> Tensor:
    """Factors after which a channel's weights are as large on either side: ``sqrt(made / read)``.

    Args:
        made: ``(C,)``, largest weight of all that make each channel.
        read: ``(C,)``, likewise of all that read it.

    Source:
        Nagel et al. (2019), arXiv:1906.04721, equation 11.
    """
    return (made / read).sqrt()


def by_activations(values: Tensor, read: Tensor, alpha: float) -> Tensor:
    """Factors that move a share of the activations' spread into weights.

    Args:
        values: ``(C,)``, largest activation of each channel.
        read: ``(C,)``, largest weight of all that read it.
        alpha: 0 leaves the weights equal, 1 the activations.

    Source:
        Xiao et al. (2023), arXiv:2211.10438, equation 4.
    """
    return values**alpha / read ** (1 - alpha)


def steps_of(wanted: Tensor) -> tuple[int, ...]:
    """Factors as a recipe keeps them: centred on 1, rounded to eighths of an octave, bounded.

    A factor for all channels together changes no rounding; a channel that is always 0, or that
    nobody reads, keeps 1.

    >>> steps_of(torch.tensor([4.0, 1.0, 0.0]))
    (8, -8, 0)
    """
    alive = wanted.isfinite() & (wanted > 0)
    if not bool(alive.any()):
        return (0,) * len(wanted)
    logs = torch.where(alive, wanted.double(), 1.0).log2() * STEPS_PER_OCTAVE
    centred = torch.where(alive, logs - logs[alive].mean(), 0.0)
    steps = centred.round().clamp(-LARGEST_STEP, LARGEST_STEP)
    return tuple(int(step) for step in steps.tolist())


def rounded_weights(weight: Tensor) -> Tensor:
    """A weight at 8 bits: symmetric, one scale per row of its first axis.

    >>> rounded_weights(torch.tensor([[127.0, 1.4]]))
    tensor([[127.,   1.]])
    """
    largest = weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True)
    step = (largest / _LARGEST_WEIGHT).clamp_min(1e-12)
    return (weight / step).round() * step


def rounded_activations(x: Tensor) -> Tensor:
    """A tensor at 8 bits: asymmetric, one scale over its extremes and 0.

    >>> rounded_activations(torch.tensor([0.0, 1.4, 255.0]))
    tensor([  0.,   1., 255.])
    """
    low, high = x.min().clamp_max(0.0), x.max().clamp_min(0.0)
    step = ((high - low) / _LEVELS).clamp_min(1e-12)
    return ((x - low) / step).round() * step + low


def _error(
    network: nn.Module,
    group: ScaleGroup,
    seen: Mapping[fx.Node, Seen],
    steps: tuple[int, ...],
) -> float:
    """Of the answers of all consumers at 8 bits: noise over signal, summed over consumers."""
    made = factors(steps)
    total = 0.0
    for layer in group.consumers:
        calls = seen[layer.node].calls
        weight = network.get_parameter(layer.weight)
        scaled = (weight.double() * read_factors(made, weight)).to(weight.dtype)
        stored = rounded_weights(scaled)
        x = torch.cat([values[0] for values in calls])
        along = [1] * x.dim()
        along[layer.axis] = -1
        rounded = rounded_activations((x.double() / made.view(along)).to(x.dtype))
        right = layer.answer(calls[0], x=x, weight=weight)
        noise = layer.answer(calls[0], x=rounded, weight=stored) - right
        signal = right.double().square().sum().clamp_min(1e-30)
        total += float(noise.double().square().sum() / signal)
    return total


def _largest_read(network: nn.Module, group: ScaleGroup) -> Tensor:
    """``(C,)``: of every channel the largest weight that reads it."""
    found = []
    for layer in group.consumers:
        weight = network.get_parameter(layer.weight).double().abs()
        columns = weight.flatten(2).amax(2) if weight.dim() > 2 else weight
        groups = group.channels // columns.shape[1]
        found.append(columns.view(groups, -1, columns.shape[1]).amax(1).flatten())
    return torch.stack(found).amax(0)


def _largest_made(network: nn.Module, group: ScaleGroup) -> Tensor:
    """``(C,)``: of every channel the largest weight that makes it."""
    weights = [network.get_parameter(layer.weight).double().abs() for layer in group.producers]
    rows = [weight.flatten(1).amax(1) for weight in weights if weight.dim() > 1]  # of products
    return torch.stack(rows).amax(0)
