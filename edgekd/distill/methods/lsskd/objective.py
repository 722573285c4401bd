"""The loss of layered self-supervised distillation, term by term.

::

    L = CE(p(x_0), y)                                         softened label of the class
      + head_weight    * sum_l 1/M sum_j CE(q_l(t_j x), y_j)  softened labels of class and turn
      + kl_weight      * sum_l T^2 KL(q_L(t_j x) || q_l(t_j x)) + T^2 KL(marginal of q_L || p(x_0))
      + feature_weight * sum_l || unit(f_l) - unit(f_final) ||^2

``q_L`` is the deepest branch; no gradient flows into it, nor into ``f_final``, from the last two
lines. A published objective does not exist; this one is put together from second-hand accounts of
arXiv:2506.07055.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every reader of torch code knows
from torch import Tensor

from edgekd.config import LsskdRecipe
from edgekd.distill.losses.logits import kd_loss, label_loss
from edgekd.distill.methods.lsskd.branches import LayeredOutput
from edgekd.distill.methods.softening.soft_labels import Answers


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Weighs the terms of one forward pass over all M views of B samples."""

    recipe: LsskdRecipe
    label_smoothing: float

    def __call__(
        self, output: LayeredOutput, targets: Answers, *, epoch: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and the terms without their weights.

        Args:
            output: Of ``M * B`` views, view after view; the first B are the samples as they are.
            targets: Softened probabilities, ``(B, K)`` and ``(B, M, L, K * M)``.
            epoch: From 0.
        """
        recipe, size = self.recipe, len(targets.main)
        logits = output.logits[:size]
        terms = {
            "label_loss": label_loss(logits, targets.main, label_smoothing=self.label_smoothing),
            "head_loss": head_loss(output.joint, targets.joint, output.present),
        }
        total = terms["label_loss"] + recipe.head_weight * terms["head_loss"]
        if recipe.kl_weight > 0:
            terms["kl_loss"] = layer_kl(
                output.joint, output.present, temperature=recipe.temperature
            )
            terms["marginal_loss"] = marginal_kl(
                logits, output.joint[-1][:size], temperature=recipe.temperature
            )
            ramp = min(1.0, (epoch + 1) / recipe.kl_ramp_epochs)
            taught = terms["kl_loss"] + terms["marginal_loss"]
            total = total + recipe.kl_weight * ramp * taught
        if recipe.feature_weight > 0:
            terms["feature_loss"] = feature_distance(output.features, output.finals, output.present)
            total = total + recipe.feature_weight * terms["feature_loss"]
        return total, terms


Present = Sequence[Tensor | None]
"""Per branch ``(M * B,)`` bool, see :class:`LayeredOutput`; means are over what is present."""


def head_loss(joint: Sequence[Tensor], targets: Tensor, present: Present) -> Tensor:
    """Cross-entropy of all branches: the sum over branches of the mean over views and samples.

    Args:
        joint: Per branch ``(M * B, K * M)`` logits, view after view.
        targets: ``(B, M, L, K * M)`` probabilities.
        present: Which rows count.

    Returns:
        ``()``, in nats.
    """
    losses = [
        F.cross_entropy(
            _fed(logits, rows).float(),
            _fed(targets[:, :, branch].transpose(0, 1).flatten(0, 1), rows),
        )
        for branch, (logits, rows) in enumerate(zip(joint, present, strict=True))
    ]
    return torch.stack(losses).sum()


def layer_kl(joint: Sequence[Tensor], present: Present, *, temperature: float) -> Tensor:
    """What the deepest branch teaches the others: ``sum_{l<L} T^2 KL(q_L || q_l)``, 0 for one."""
    if len(joint) == 1:
        return joint[0].new_zeros((), dtype=torch.float32)
    *shallower, deepest = joint
    losses = [
        kd_loss(_fed(q, rows), _fed(deepest, rows), temperature=temperature)
        for q, rows in zip(shallower, present[:-1], strict=True)
    ]
    return torch.stack(losses).sum()


def marginal_kl(logits: Tensor, joint: Tensor, *, temperature: float) -> Tensor:
    """What the deepest branch teaches the network: KL of its marginal over transformations.

    The marginal of tempered joint probabilities, ``sum_j q(y, j)``, is the class distribution that
    the network's own tempered softmax is compared with.

    Args:
        logits: ``(B, K)`` of the network.
        joint: ``(B, K * M)`` of the branch on the same, untransformed samples.
        temperature: ``T`` > 0.

    Returns:
        ``()``, ``T^2 KL(marginal || softmax)`` in nats, mean over the batch.
    """
    classes = logits.shape[1]
    log_joint = F.log_softmax(joint.detach().float() / temperature, dim=1)
    marginal = log_joint.view(len(joint), classes, -1).logsumexp(dim=2)
    own = F.log_softmax(logits.float() / temperature, dim=1)
    return F.kl_div(own, marginal, reduction="batchmean", log_target=True) * temperature**2


def feature_distance(
    features: Sequence[Tensor], finals: Sequence[Tensor], present: Present
) -> Tensor:
    """``sum_l mean_i || f_il / |f_il| - g_il / |g_il| ||^2``; no gradient flows into ``finals``.

    Args:
        features: Per branch ``(B, C)``.
        finals: As many, of the same shapes.
        present: Which rows count.
    """
    distances = []
    for own, final, rows in zip(features, finals, present, strict=True):
        difference = F.normalize(own.float(), dim=1) - F.normalize(final.detach().float(), dim=1)
        distances.append(_fed(difference, rows).square().sum(dim=1).mean())
    return torch.stack(distances).sum()


def _fed(values: Tensor, rows: Tensor | None) -> Tensor:
    return values if rows is None else values[rows]
