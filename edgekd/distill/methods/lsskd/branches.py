"""Branches after every stage, and the network that carries them while it is trained.

A branch continues from a stage's map to features and to logits of the joint labels, ``class * M +
transformation``. Only the student runs in eval mode: the branches add nothing to what is deployed.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from edgekd.distill.methods.probe import plain_answer
from edgekd.errors import ModelError
from edgekd.students.answers import MAP_AXES, as_tokens, channels_of, pooled
from edgekd.students.stages import Chain, find_chains, outputs_of

BranchKind = Literal["copy", "light"]


class LayeredOutput(NamedTuple):
    """What training sees of a network with branches in one forward pass."""

    logits: Tensor
    """``(B, K)`` of the network itself."""
    joint: tuple[Tensor, ...]
    """``(B, K * M)`` per branch; the last one is the deepest."""
    features: tuple[Tensor, ...]
    """``(B, C)`` per branch, pooled."""
    finals: tuple[Tensor, ...]
    """``(B, C)`` per branch: the pooled last stage of its chain, for it to be like."""
    present: tuple[Tensor | None, ...]
    """``(B,)`` bool per branch: false where its sensor was missing, so that it has nothing to
    answer to; ``None`` where nothing can be missing, and where nobody has anything."""


class LayeredNetwork(nn.Module):
    """A student and its branches; in eval mode it is the student.

    Args:
        student: Its stages are found with one run.
        inputs: One batch per input, for that run.
        num_classes: ``K``.
        num_transformations: ``M``.
        kind: What branches are made of.
        num_branches: Per chain, from its last stage backwards; ``None`` for all stages.

    Raises:
        ModelError: If the student has no stages that run one after another, or fewer than
            ``num_branches``.
    """

    def __init__(
        self,
        student: nn.Module,
        inputs: Sequence[Tensor],
        *,
        num_classes: int,
        num_transformations: int,
        kind: BranchKind,
        num_branches: int | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        chains = find_chains(student, inputs)
        deepest = max(len(chain.stages) for chain in chains)
        if num_branches is not None and num_branches > deepest:
            raise ModelError(
                f"lsskd.num_branches = {num_branches}: the student has {deepest} stages, each with "
                "one branch at most; give fewer, or leave it out"
            )
        labels = num_classes * num_transformations
        branches, taps = [], []
        encoders: list[nn.Module | None] = []
        for chain in chains:
            first = 0 if num_branches is None else max(0, len(chain.stages) - num_branches)
            for stage in range(first, len(chain.stages)):
                body = _body(chain, stage, kind)
                branches.append(Branch(body, channels_of(chain.shapes[-1]), labels))
                taps.append((chain.stages[stage], chain.stages[-1]))
                encoders.append(
                    student.get_submodule(f"encoders.{chain.name}") if chain.name else None
                )
        if len(chains) > 1:  # what fusion answers is deeper than any encoder
            fusion = student.get_submodule("fusion")
            width = _fused_width(fusion, student, inputs)
            branches.append(Branch(nn.Identity(), width, labels))
            taps.append((fusion, fusion))
            encoders.append(None)
        self.branches = nn.ModuleList(branches)
        # A tuple of tuples hides the student's stages from the list of this module's own parts.
        self._taps = tuple(taps)
        self._encoders = tuple(encoders)

    def forward(self, *inputs: Tensor) -> Tensor | LayeredOutput:
        """``(B, K)`` logits in eval mode, everything in training."""
        if not self.training:
            return self.student(*inputs)  # type: ignore[no-any-return]
        return self.answer_all(*inputs)

    def answer_all(self, *inputs: Tensor) -> LayeredOutput:
        """The student's and every branch's answer, whatever the mode."""
        wanted = {id(part): part for tap in self._taps for part in tap}
        with outputs_of(tuple(wanted.values())) as answers, _rows_fed(self._encoders) as fed:
            logits = self.student(*inputs)
        maps = dict(zip(wanted, answers, strict=True))
        found = [
            branch(maps[id(stage)])
            for branch, (stage, _) in zip(self.branches, self._taps, strict=True)
        ]
        return LayeredOutput(
            logits=logits,
            joint=tuple(joint for _, joint in found),
            features=tuple(features for features, _ in found),
            finals=tuple(pooled(maps[id(last)]) for _, last in self._taps),
            present=tuple(fed.get(id(encoder)) for encoder in self._encoders),
        )


class Branch(nn.Module):
    """From one stage's map to pooled features and to joint logits: body, BN, ReLU, GAP, linear.

    Args:
        body: From the stage's map to a map that is as wide as the chain's last.
        channels: How wide.
        num_labels: ``K * M``.

    Source:
        Yang et al. (2021), arXiv:2107.13715, section 3.1: branches copy the remaining stages.
    """

    def __init__(self, body: nn.Module, channels: int, num_labels: int) -> None:
        super().__init__()
        self.body = body
        self.norm = nn.BatchNorm1d(channels)
        self.classifier = nn.Linear(channels, num_labels)

    def forward(self, stage_map: Tensor) -> tuple[Tensor, Tensor]:
        """A stage's answer to pooled features ``(B, C)`` and joint logits ``(B, K * M)``."""
        answer = self.body(stage_map)
        normed = self.norm(as_tokens(answer).transpose(1, 2))  # (B, C, positions), as BN wants it
        return pooled(answer), self.classifier(torch.relu(normed).mean(dim=2))


@contextmanager
def _rows_fed(encoders: Sequence[nn.Module | None]) -> Iterator[dict[int, Tensor]]:
    """Module id of an encoder -> which rows it was fed with; a missing sensor is fed as zeros."""
    fed: dict[int, Tensor] = {}

    def read(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        present = arguments[0].flatten(1).any(dim=1)
        if bool(present.any()):
            fed[id(module)] = present

    unique = {id(encoder): encoder for encoder in encoders if encoder is not None}
    hooks = [encoder.register_forward_pre_hook(read) for encoder in unique.values()]
    try:
        yield fed
    finally:
        for hook in hooks:
            hook.remove()


def _body(chain: Chain, stage: int, kind: BranchKind) -> nn.Module:
    if kind == "light":
        return _light_body(chain.shapes[stage], channels_of(chain.shapes[-1]))
    behind = chain.stages[stage + 1 :] or chain.tail
    return nn.Sequential(*(copy.deepcopy(part) for part in behind))


def _light_body(shape: tuple[int, ...], width: int) -> nn.Module:
    if len(shape) + 1 == MAP_AXES:
        return nn.Conv2d(channels_of(shape), width, 1, bias=False)
    return nn.Linear(channels_of(shape), width, bias=False)


def _fused_width(fusion: nn.Module, student: nn.Module, inputs: Sequence[Tensor]) -> int:
    with outputs_of([fusion]) as answers:
        plain_answer(student, inputs)
    return answers[0].shape[1]
