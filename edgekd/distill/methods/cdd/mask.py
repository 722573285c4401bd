"""Which channels retrieval does without: the rule behind the mask.

The cosine of two images is a sum over channels. A channel that adds little to the cosine of every
image with its nearest neighbours is one that finding these neighbours does not need.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Images of a batch with their neighbours in one block."""

    contributions: Tensor
    """``(B, k, C)``: what every channel adds to the cosine of image and neighbour, >= 0."""
    is_pair: Tensor
    """``(B, k)`` bool: false where an image has fewer neighbours than that."""


def neighbour_pairs(
    teacher: Tensor,
    student: Tensor,
    gallery: Tensor,
    *,
    num_neighbours: int,
    same_class: Tensor | None = None,
    channels: Tensor | None = None,
) -> Pairs:
    """Nearest neighbours by the teacher, and what each of the student's channels adds to them.

    Args:
        teacher: ``(B, C)``, this batch's vectors; neighbours are those nearest to them by cosine.
        student: ``(B, C')``, the same images behind the student's indicator.
        gallery: ``(N, C)`` unit vectors of the teacher, this batch's among them.
        num_neighbours: ``k``; the first neighbour of an image is the image itself.
        same_class: ``(B, N)`` bool: which gallery entries may be neighbours; ``None`` for all.
        channels: ``(C',)`` int64: numbers of the student's channels among the teacher's, where
            some were removed already.
    """
    # A CPU has no fast product of half-precision matrices.
    exact = gallery if gallery.is_cuda else gallery.float()
    cosine = normalize(teacher.float(), dim=1).to(exact.dtype) @ exact.T
    if same_class is not None:
        cosine = cosine.masked_fill(~same_class, -torch.inf)
    nearest = cosine.topk(min(num_neighbours, cosine.shape[1]), dim=1)
    neighbours = gallery[nearest.indices].float()
    if channels is not None:
        neighbours = neighbours[:, :, channels]
    own = normalize(student.float(), dim=1)[:, None, :]
    return Pairs(contributions=(neighbours * own).abs(), is_pair=torch.isfinite(nearest.values))


def ranks(contributions: Tensor) -> Tensor:
    """Place of every channel among its pair's, 0 for the smallest: ``(B, k, C)`` int64."""
    order = contributions.argsort(dim=-1, stable=True)
    places = torch.arange(order.shape[-1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


def dispensable(pairs: Pairs, *, num_low: int) -> Tensor:
    """Channels that are among the ``num_low`` smallest contributors of every single pair.

    Returns:
        ``(C,)`` bool.
    """
    low = (ranks(pairs.contributions) < num_low) | ~pairs.is_pair[..., None]
    return low.flatten(0, 1).all(0)


def dispensability(pairs: Pairs, *, mask: Tensor, full: int, ratio: float) -> Tensor:
    """How often and how clearly a channel is a small contributor, to rank channels by.

    Channels that are lost count as the smallest, as in the published rule: a block that has lost
    many has few left to spare beside one that has lost none.

    Args:
        pairs: Of one block.
        mask: ``(C,)`` bool, true for channels that are still defended.
        full: Channels that the block started with.
        ratio: The share of them that counts as small in one pair.

    Returns:
        ``(C,)`` float32: the share of pairs in which the channel is small, plus how far below the
        largest contributor it lies on average (both in [0, 1]).
    """
    contributions = pairs.contributions.masked_fill(~mask, torch.inf)
    num_lost = full - int(mask.sum())
    place = ranks(contributions).float()[pairs.is_pair] + num_lost
    often = (place < int(ratio * full)).float().mean(0)
    clearly = 1 - (place / full).clamp(max=1).mean(0)
    return often + clearly
