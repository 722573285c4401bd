"""Losses on logits."""

import torch.nn.functional as F  # noqa: N812 - the name every reader of torch code knows
from torch import Tensor


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """Soft-target loss: ``T^2 * KL(teacher || student)`` of tempered softmaxes.

    Args:
        student_logits: ``(B, K)``, float, not yet softmaxed.
        teacher_logits: ``(B, K)``, float; no gradient flows into it.
        temperature: ``T`` > 0, dimensionless.

    Returns:
        ``()``, in nats, mean over the batch; 0 when the logits differ by a constant per row.
        Computed in fp32 whatever the autocast of the forward pass.

    Raises:
        ValueError: If the shapes differ or are not 2-D, or ``temperature`` <= 0.

    Source:
        Hinton, Vinyals & Dean (2015), arXiv:1503.02531, section 2.
    """
    if student_logits.shape != teacher_logits.shape or student_logits.ndim != 2:
        raise ValueError(
            f"expected two (B, K) tensors, found {tuple(student_logits.shape)} "
            f"and {tuple(teacher_logits.shape)}"
        )
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, found {temperature}")
    student_log = F.log_softmax(student_logits.float() / temperature, dim=1)
    teacher_log = F.log_softmax(teacher_logits.detach().float() / temperature, dim=1)
    divergence = F.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def label_loss(logits: Tensor, targets: Tensor, *, label_smoothing: float) -> Tensor:
    """Cross-entropy with the labels, in fp32.

    Args:
        logits: ``(B, K)``, float.
        targets: ``(B,)`` class indices, or ``(B, K)`` probabilities (mixed images).
        label_smoothing: Share of the uniform distribution, in [0, 1).

    Returns:
        ``()``, in nats, mean over the batch.
    """
    return F.cross_entropy(logits.float(), targets, label_smoothing=label_smoothing)
