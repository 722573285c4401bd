"""Task metrics from logits, in numpy alone, so that a device computes what training computes."""

import numpy as np
from numpy.typing import NDArray

from edgekd.records import Metric, SplitName


def metric_from_logits(
    logits: NDArray[np.floating], labels: NDArray[np.int64], *, split: SplitName
) -> Metric:
    """Top-1 accuracy, as a fraction.

    Args:
        logits: ``(N, K)``, any float type.
        labels: ``(N,)``, class indices.
        split: Which split the samples are from.

    Raises:
        ValueError: If the shapes do not match, there is no sample, or a logit is NaN.

    >>> metric_from_logits(np.array([[0.1, 0.9], [2.0, 1.0]]), np.array([1, 1]), split="test").value
    0.5
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        raise ValueError(f"expected (N, K) logits and (N,) labels: {logits.shape}, {labels.shape}")
    if np.isnan(logits).any():
        raise ValueError("logits contain NaN")
    hits = int((logits.argmax(axis=1) == labels).sum())
    return Metric(name="top1", value=hits / len(labels), split=split, num_samples=len(labels))
