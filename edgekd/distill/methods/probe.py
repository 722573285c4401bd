"""Looking at a network before and after it is trained, without moving its statistics."""

from collections.abc import Sequence

from torch import Tensor, nn

from edgekd.distill.methods.protocol import Run
from edgekd.students.at_rest import at_rest


def zero_inputs(network: nn.Module, run: Run) -> list[Tensor]:
    """One batch of one zero sample per input, where ``network`` lies."""
    like = next(network.parameters())
    return [like.new_zeros(1, *spec.shape) for spec in run.inputs]


def plain_answer(network: nn.Module, inputs: Sequence[Tensor]) -> Tensor:
    """``(B, K)`` of a network in eval mode; the mode of each of its parts is restored."""
    with at_rest(network):
        answer: Tensor = network(*inputs)
    return answer
