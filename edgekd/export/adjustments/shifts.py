"""Bias correction: the mean that a layer loses by rounding its weights is added to its bias.

Rounding errors of activations cancel over many values; those of weights are always the same, and
shift a whole channel of what the layer makes. Depthwise layers suffer most: they have few weights
per channel, so that little cancels.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, fx

from edgekd.export.adjustments.record import LARGEST_LEVEL, BiasShift
from edgekd.export.adjustments.scales import rounded_weights
from edgekd.export.adjustments.trace import Layer, Trace


def bias_shifts(trace: Trace, samples: Sequence[Sequence[Tensor]]) -> tuple[BiasShift, ...]:
    """What to add to every bias of a convolution or linear layer.

    Args:
        trace: Of the network.
        samples: Each one batch of one per input; at least one.

    Source:
        Nagel et al. (2019), arXiv:1906.04721, section 4.2, with the mean of what each layer reads
        taken from samples.
    """
    layers = {layer.node: layer for layer in trace.products() if layer.bias is not None}
    lost = {node: _lost_weights(trace, layer) for node, layer in layers.items()}
    sums: dict[fx.Node, Tensor] = {}

    def hear(node: fx.Node, values: tuple[Any, ...]) -> None:
        layer = layers[node]
        made = layer.answer(values, x=values[0], weight=lost[node]).double()
        mean = made.mean([axis for axis in range(made.dim()) if axis != layer.axis])
        sums[node] = sums[node] + mean if node in sums else mean

    for sample in samples:
        trace.run(sample, layers.keys(), hear)
    found = (
        _shift(layer.bias, sums[node] / len(samples))
        for node, layer in layers.items()
        if layer.bias is not None
    )
    return tuple(shift for shift in found if shift is not None)


def _lost_weights(trace: Trace, layer: Layer) -> Tensor:
    """What rounding takes away from a layer's weights."""
    weight = trace.network.get_parameter(layer.weight)
    return weight.detach() - rounded_weights(weight.detach())


def _shift(bias: str, lost: Tensor) -> BiasShift | None:
    largest = float(lost.abs().max())
    if largest == 0:
        return None
    step = largest / LARGEST_LEVEL
    levels = tuple(int(level) for level in (lost / step).round().tolist())
    return BiasShift(parameter=bias, step=step, levels=levels)
