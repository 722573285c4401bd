"""Looking at a network as it is deployed, without moving its statistics or its training mode."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients in the block; afterwards each part is in its own mode again."""
    training = [part for part in network.modules() if part.training]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:  # the flag itself: train() may be overridden and is recursive
            part.training = True
