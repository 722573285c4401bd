"""The head of an embedding network, and the identity classifier it is trained with.

::

    backbone -> f (B, F) -> BatchNorm -> ReLU -> Linear -> BatchNorm -> e (B, D)
                                                                        e -> Linear -> (B, K)

``e`` is what a deployed network answers and what is compared when images are looked for. The last
layer knows the identities of the training data; it is used in training and by a teacher, and no
deployed network holds it.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class EmbeddingOutput(NamedTuple):
    """What training sees of an embedding network in one forward pass."""

    features: Tensor
    """``(B, F)``, pooled features of the backbone; the triplet loss measures distances here."""
    embedding: Tensor
    """``(B, D)``, not of unit length; searches compare its direction."""
    logits: Tensor
    """``(B, K)`` of the training identities."""


class EmbeddingNetwork(nn.Module):
    """A backbone and the layers from its pooled features to the embedding.

    Args:
        backbone: ``(B, C, H, W) -> (B, F)``.
        num_features: ``F``.
        embedding_dim: ``D``.
    """

    def __init__(self, backbone: nn.Module, *, num_features: int, embedding_dim: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.BatchNorm1d(num_features),
            nn.ReLU(),  # not in place: the features in front of it are compared too
            nn.Linear(num_features, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim),
        )
        self.embedding_dim = embedding_dim

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` normalised ``-> (B, D)`` embedding."""
        return self.head(self.backbone(x))  # type: ignore[no-any-return]


class IdentityNetwork(nn.Module):
    """An embedding network with the classifier of the training identities on top.

    Args:
        network: The part that is deployed.
        num_identities: ``K``.
    """

    def __init__(self, network: EmbeddingNetwork, num_identities: int) -> None:
        super().__init__()
        self.network = network
        self.classifier = nn.Linear(network.embedding_dim, num_identities, bias=False)

    def forward(self, x: Tensor) -> EmbeddingOutput:
        """``(B, C, H, W)`` normalised ``->`` features, embedding and logits."""
        features = self.network.backbone(x)
        embedding = self.network.head(features)
        return EmbeddingOutput(features, embedding, self.classifier(embedding))


def deployed_answer(output: Tensor | EmbeddingOutput) -> Tensor:
    """What a deployed network would have answered: ``(B, K)`` logits or ``(B, D)`` embedding."""
    return output.embedding if isinstance(output, EmbeddingOutput) else output


def backbone_of(network: nn.Module) -> nn.Module:
    """The backbone of the embedding network inside ``network``, whatever is wrapped around it.

    A network that answers no embeddings is a backbone itself.
    """
    inside = (part for part in network.modules() if isinstance(part, EmbeddingNetwork))
    embedding = next(inside, None)
    return network if embedding is None else embedding.backbone


def head_tensors(network: IdentityNetwork) -> dict[str, Tensor]:
    """The classifier's weights by name, for a file of their own beside a bundle."""
    return dict(network.classifier.state_dict())


def with_classifier(network: EmbeddingNetwork, tensors: dict[str, Tensor]) -> IdentityNetwork:
    """The inverse of :func:`head_tensors`.

    Raises:
        ValueError: If the tensors are not those of a classifier of this embedding.
    """
    weight = tensors.get("weight", torch.empty(0))
    if set(tensors) != {"weight"} or weight.ndim != 2 or weight.shape[1] != network.embedding_dim:
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        raise ValueError(f"expected weight (K, {network.embedding_dim}), found {shapes}")
    full = IdentityNetwork(network, weight.shape[0])
    full.classifier.load_state_dict(tensors)
    return full
