"""What labels alone teach, for every task: the part that methods have in common."""

from torch import Tensor

from edgekd.config import SettledRecipe
from edgekd.distill.losses.logits import label_loss
from edgekd.distill.losses.triplet import triplet_loss
from edgekd.students.head import EmbeddingOutput


def label_losses(
    output: Tensor | EmbeddingOutput, targets: Tensor, recipe: SettledRecipe
) -> dict[str, Tensor]:
    """The losses of the labels by name, each with weight 1.

    Args:
        output: What the trained module answered: logits, or features, embedding and logits.
        targets: ``(B,)`` class indices (identities for an embedding network), or ``(B, K)``
            probabilities when images were mixed.
        recipe: Its ``label_smoothing`` and, for an embedding network, its triplet margin.

    Returns:
        ``label_loss``, and for an embedding network also ``triplet_loss``.
    """
    smoothing = recipe.label_smoothing
    if not isinstance(output, EmbeddingOutput):
        return {"label_loss": label_loss(output, targets, label_smoothing=smoothing)}
    margin = recipe.retrieval.triplet_margin
    return {
        "label_loss": label_loss(output.logits, targets, label_smoothing=smoothing),
        "triplet_loss": triplet_loss(output.features, targets, margin=margin),
    }


def class_indices(targets: Tensor) -> Tensor:
    """``(B,)`` class indices; of mixed images the class that has the largest share."""
    return targets if targets.ndim == 1 else targets.argmax(dim=1)


def detached(losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same numbers without their graph, for the history."""
    return {name: loss.detach() for name, loss in losses.items()}
