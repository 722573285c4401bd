"""Reading what layers inside a network answer while the network runs, pooled to vectors.

A teacher and a student are read in the same way, so that what is compared is alike.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from edgekd.students.answers import pooled
from edgekd.students.head import backbone_of


@contextmanager
def pooled_outputs(layers: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect the spatial mean of every layer that runs inside the block, in forward order.

    The mean is taken as soon as a layer has answered: what follows may work in place.

    Args:
        layers: Parts of a network that answer ``(B, C, H, W)`` maps, ``(B, N, C)`` tokens or
            ``(B, C)`` vectors; each becomes ``(B, C)``.
    """
    vectors: list[Tensor] = []

    def read(_layer: nn.Module, _inputs: Any, output: Tensor) -> None:
        vectors.append(pooled(output.float()))  # a mean of half precision would be as coarse

    hooks = [layer.register_forward_hook(read) for layer in layers]
    try:
        yield vectors
    finally:
        for hook in hooks:
            hook.remove()


def stage_layers(network: nn.Module) -> tuple[nn.Module, ...]:
    """The layers that end the stages of a network, first to last; empty where none are known.

    edgekd's ResNets name theirs ``stages``, timm's architectures list them as ``feature_info``.
    An embedding network is read through to its backbone.
    """
    backbone = backbone_of(network)
    stages = getattr(backbone, "stages", None)
    listed = getattr(backbone, "feature_info", None)
    if isinstance(listed, list):
        parts = dict(backbone.named_modules())
        names = [entry.get("module") for entry in listed]
        return tuple(parts[name] for name in names) if all(n in parts for n in names) else ()
    return tuple(stages) if isinstance(stages, nn.ModuleList) else ()
