"""A teacher that is a torch module of ours: bundles and timm."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from edgekd.records import TeacherRef
from edgekd.students.head import EmbeddingOutput, IdentityNetwork
from edgekd.students.taps import pooled_outputs
from edgekd.teachers.encode import InputsEncoder
from edgekd.teachers.protocol import Capability, TeacherOutput
from edgekd.teachers.taps import (
    attention_layers,
    feature_reader,
    is_self_attention,
    reading_attention,
)


class ModuleTeacher:
    """A frozen module in eval mode, with its features and attention where they are needed.

    Args:
        module: Taken over: frozen, in eval mode, channels last in memory. It answers logits, or,
            for retrieval, an :class:`~edgekd.students.head.EmbeddingOutput`.
        ref: For provenance.
        encoder: The module's inputs.
        num_classes: ``K``.
        needs: What to compute; anything the module lacks is left to the caller to refuse.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        ref: TeacherRef,
        encoder: InputsEncoder,
        num_classes: int,
        needs: frozenset[Capability],
        layers: Sequence[nn.Module] = (),
    ) -> None:
        frozen = module.eval().requires_grad_(False)
        self._module = frozen.to(memory_format=torch.channels_last)
        self._encoder = encoder
        reader = feature_reader(module)
        self._features = reader if "features" in needs else None
        self._attention = self._usable_attention() if "attention" in needs else []
        self.ref = ref
        self.num_classes = num_classes
        self._layers = tuple(layers)
        self.gives = _capabilities(
            features=reader is not None,
            attention=bool(self._attention),
            embedding=isinstance(module, IdentityNetwork),
            pooled=bool(self._layers),
        )

    def to(self, device: torch.device) -> Self:
        """Move the weights."""
        self._module.to(device)
        return self

    @torch.no_grad()  # not inference_mode: its tensors cannot enter the student's graph
    def __call__(self, *views: Tensor) -> TeacherOutput:
        """Answer the views; see :class:`~edgekd.teachers.protocol.Teacher`."""
        inputs = self._encoder(views)
        features: tuple[Tensor, ...] = ()
        answer: Tensor | EmbeddingOutput
        with reading_attention(self._attention) as weights, pooled_outputs(self._layers) as pooled:
            if self._features is not None:
                answer, features = self._features(*inputs)
            else:
                answer = self._module(*inputs)
        logits = answer.logits if isinstance(answer, EmbeddingOutput) else answer
        return TeacherOutput(
            logits=logits.float(),
            features=features,
            attention=tuple(weights),
            embedding=answer.embedding.float() if isinstance(answer, EmbeddingOutput) else None,
            pooled=tuple(vector.float() for vector in pooled),
        )

    @torch.no_grad()
    def _usable_attention(self) -> list[nn.Module]:
        """The layers whose weights are maps over the image; found by asking them once."""
        layers, image = attention_layers(self._module), self._encoder.image
        if not layers or image is None or image.size is None:
            return []
        with reading_attention(layers) as weights:
            self._module(torch.zeros(2, image.channels, *image.size))
        return layers if is_self_attention(weights, batch_size=2) else []


def _capabilities(**given: bool) -> frozenset[Capability]:
    names: tuple[Capability, ...] = ("features", "attention", "embedding", "pooled")
    return frozenset({"logits", *(name for name in names if given[name])})
