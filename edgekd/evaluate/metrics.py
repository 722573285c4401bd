"""Task metrics from answers, in numpy alone, so that a device computes what training computes."""

import numpy as np
from numpy.typing import NDArray

from edgekd.data.roles import Roles
from edgekd.evaluate.retrieval import retrieval_scores
from edgekd.records import Metric, SplitName, Task


def metrics_of(
    task: Task,
    answers: NDArray[np.floating],
    labels: NDArray[np.int64],
    cameras: NDArray[np.int64] | None,
    roles: Roles | None = None,
    *,
    split: SplitName,
) -> tuple[Metric, ...]:
    """All metrics of a task, the one that stands for the task first.

    Args:
        task: ``top1`` for classification; for retrieval ``mean_ap``, then ``recall_at_1``,
            ``recall_at_5`` and ``recall_at_10``.
        answers: ``(N, K)`` logits or ``(N, D)`` embeddings.
        labels: ``(N,)``, classes or identities.
        cameras: ``(N,)`` where they are known; of use for retrieval only.
        roles: Who asks and who is searched through, where samples have roles; likewise.
        split: Which split the samples are from.

    Raises:
        ValueError: If the shapes do not match, there is no sample, an answer is NaN, or for
            retrieval no sample has another one of its identity.
    """
    if task == "classification":
        return (metric_from_logits(answers, labels, split=split),)
    scores = retrieval_scores(answers, labels, cameras, roles)
    values = {
        "mean_ap": scores.mean_ap,
        **{f"recall_at_{rank}": value for rank, value in scores.recall_at.items()},
    }
    return tuple(
        Metric(name=name, value=value, split=split, num_samples=scores.num_queries)
        for name, value in values.items()
    )


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
