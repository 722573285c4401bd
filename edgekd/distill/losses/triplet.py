"""Losses on distances between samples."""

import torch
import torch.nn.functional as F  # noqa: N812 - the name every reader of torch code knows
from torch import Tensor


def triplet_loss(features: Tensor, identities: Tensor, *, margin: float) -> Tensor:
    """Batch-hard triplet loss: ``mean_i max(0, d(i, farthest own) - d(i, nearest other) + m)``.

    ``d`` is the Euclidean distance. Every sample is an anchor. One without another sample of its
    identity in the batch is its own farthest (distance 0); one without a sample of another
    identity has nothing to be kept away from and adds 0.

    Args:
        features: ``(B, F)``, float.
        identities: ``(B,)``, int64.
        margin: ``m`` >= 0, in the unit of the features.

    Returns:
        ``()``, in the unit of the features, mean over the batch; computed in fp32 whatever the
        autocast of the forward pass. Where two samples are equal the gradient of their distance
        is taken as 0.

    Raises:
        ValueError: If the shapes do not fit, or ``margin`` < 0.

    Source:
        Hermans, Beyer & Leibe (2017), arXiv:1703.07737, equation 5.
    """
    if features.ndim != 2 or identities.shape != features.shape[:1]:
        raise ValueError(
            f"expected (B, F) features and (B,) identities, found {tuple(features.shape)} "
            f"and {tuple(identities.shape)}"
        )
    if margin < 0:
        raise ValueError(f"margin must be >= 0, found {margin}")
    x = features.float()
    # Without the matrix product, whose rounding makes equal samples look apart.
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    same = identities[:, None] == identities[None, :]
    farthest_own = distances.masked_fill(~same, -torch.inf).amax(dim=1)
    nearest_other = distances.masked_fill(same, torch.inf).amin(dim=1)
    return F.relu(farthest_own - nearest_other + margin).mean()
