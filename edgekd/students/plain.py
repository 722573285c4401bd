"""Is this network what its ArchSpec says, and nothing besides?

Methods add parts for training only: indicators, branches, averages. What is written into a bundle,
and what an export reads out of one, must be the plain network again.
"""

import copy
from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

from edgekd.errors import ModelError
from edgekd.records import ArchSpec
from edgekd.students.build import build_student
from edgekd.students.count import Cost, count_cost

_NAMED_AT_MOST: Final = 3


@torch.no_grad()
def require_plain(
    network: nn.Module, arch: ArchSpec, input_shapes: Sequence[tuple[int, ...]]
) -> Cost:
    """Rebuild ``arch``, give it the network's weights, and compare everything that is deployed.

    Args:
        network: Left as it is.
        arch: What it claims to be.
        input_shapes: Of its inputs, without the batch axis.

    Returns:
        Parameters and MACs, which are those of the plain network.

    Raises:
        ModelError: If a weight is left over or missing, parameters or MACs differ, or the plain
            network does not give bit for bit the same answer.
    """
    with torch.random.fork_rng(devices=[]):  # fresh weights draw no random numbers of the run
        plain = build_student(arch)
    own, weights = plain.state_dict(), network.state_dict()
    strange = sorted(own.keys() ^ weights.keys())
    strange += [n for n in sorted(own.keys() & weights.keys()) if own[n].shape != weights[n].shape]
    if strange:
        listed = ", ".join(strange[:_NAMED_AT_MOST]) + (", ..." if strange[_NAMED_AT_MOST:] else "")
        raise ModelError(
            f"{len(strange)} weights are not those of the plain {arch.family} network ({listed}); "
            "something that was for training only is left: train it again"
        )
    plain.load_state_dict(weights)
    # Both on the CPU in the same memory layout: then they take the same kernels.
    trained = copy.deepcopy(network).cpu().to(memory_format=torch.contiguous_format)
    cost, expected = (count_cost(part, input_shapes) for part in (trained, plain))
    if cost != expected:
        raise ModelError(
            f"the network has {cost.num_params:,} parameters and {cost.macs:,} MACs, a plain "
            f"{arch.family} network of its shape {expected.num_params:,} and {expected.macs:,}; "
            "train it again"
        )
    noise = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, *shape, generator=noise) for shape in input_shapes]
    if not torch.equal(trained.eval()(*inputs), plain.eval()(*inputs)):
        raise ModelError(
            f"the network answers otherwise than a plain {arch.family} network with its weights; "
            "something that was for training only still takes part"
        )
    return cost
