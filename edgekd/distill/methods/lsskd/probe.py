"""Looking at a network before and after it is trained, without moving its statistics."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edgekd.distill.methods.protocol import Run


def zero_inputs(network: nn.Module, run: Run) -> list[Tensor]:
    """One batch of one zero sample per input, where ``network`` lies."""
    like = next(network.parameters())
    return [like.new_zeros(1, *spec.shape) for spec in run.inputs]


def plain_answer(network: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """``(B, K)`` of a network in eval mode; the mode of each of its parts is restored."""
    with at_rest(network):
        answer: Tensor = network(*inputs)
    return answer


@contextmanager
def at_rest(network: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients; the mode of each of its parts is restored."""
    training = [part for part in network.modules() if part.training]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True
