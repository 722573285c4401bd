"""What several processes hold, made one: every process draws the same conclusion from it."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn


def gathered(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Each ``(B, ...)`` tensor with the samples of all processes, in the order of their ranks.

    The processes may have different numbers of samples. Alone, a process gets back its own.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return list(tensors)
    count = torch.tensor([len(tensors[0])], device=tensors[0].device)
    counts = [int(n) for n in torch.cat(_all_gather(count))]
    return [_gather_uneven(tensor, counts) for tensor in tensors]


@torch.no_grad()
def broadcast_buffers(module: nn.Module) -> None:
    """Give every process the buffers of the first, in place; without several, nothing happens."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    groups: dict[torch.dtype, list[Tensor]] = defaultdict(list)
    for buffer in module.buffers():
        groups[buffer.dtype].append(buffer)
    for buffers in groups.values():  # a message each: norms have many small ones
        flat = torch.cat([buffer.flatten() for buffer in buffers])
        distributed.broadcast(flat, src=0)
        parts = torch.split(flat, [buffer.numel() for buffer in buffers])
        for buffer, part in zip(buffers, parts, strict=True):
            buffer.copy_(part.view_as(buffer))


def _gather_uneven(tensor: Tensor, counts: Sequence[int]) -> Tensor:
    padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    parts = _all_gather(padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def _all_gather(tensor: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(tensor) for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, tensor.contiguous())
    return parts
