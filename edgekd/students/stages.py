"""The stages a network runs one after another, found by how it is built and proven by one run.

edgekd's ResNets and timm's name their stages ``stages``, ``blocks`` or ``layer1``, ``layer2``, ...;
a network of several sensors has ``encoders``, each with stages of its own.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn

from edgekd.errors import ModelError
from edgekd.students.at_rest import at_rest

_CONTAINERS: Final = ("stages", "blocks")
_NUMBERED: Final = "layer{}"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Stages of which each reads what the one before answered."""

    name: str
    """Of the encoder; empty where the whole network is one chain."""
    stages: tuple[nn.Module, ...]
    shapes: tuple[tuple[int, ...], ...]
    """Of each stage's answer, without the batch axis: ``(C, H, W)`` maps or ``(N, C)`` tokens."""
    tail: tuple[nn.Module, ...]
    """Blocks of the last stage that keep the shape of what they read."""


def find_chains(network: nn.Module, inputs: Sequence[Tensor]) -> tuple[Chain, ...]:
    """Every chain of a network, in the order of its inputs.

    Args:
        network: Left as it is, its training mode and statistics included.
        inputs: One batch per input, for a run in eval mode that shows who reads whose answer.

    Raises:
        ModelError: If no stages are found, they do not read each other's answers, or these are
            overwritten.
    """
    if getattr(network, "output_fmt", None) == "NHWC":  # how timm says it
        raise ModelError(
            f"{type(network).__name__} keeps channels last, and layered self-distillation reads "
            "maps (C, H, W); choose another student, or --method ps-kd"
        )
    encoders = getattr(network, "encoders", None)
    parts = dict(encoders.items()) if isinstance(encoders, nn.ModuleDict) else {"": network}
    found = {name: _stages(part) for name, part in parts.items()}
    watched = [stage for stages in found.values() for stage in stages]
    watched += [block for stages in found.values() for block in _children(stages)]
    seen = _run(network, watched, inputs)
    return tuple(_chain(name, stages, seen) for name, stages in found.items())


@contextmanager
def outputs_of(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """What every one of ``modules`` answers while the block runs, in the order of ``modules``."""
    answers: list[Tensor] = []
    by_module: dict[int, Tensor] = {}

    def read(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        by_module[id(module)] = output
        if len(by_module) == len(modules):
            answers[:] = [by_module[id(wanted)] for wanted in modules]

    hooks = [module.register_forward_hook(read) for module in modules]
    try:
        yield answers
    finally:
        for hook in hooks:
            hook.remove()


def _stages(network: nn.Module) -> tuple[nn.Module, ...]:
    for name in _CONTAINERS:
        container = getattr(network, name, None)
        if isinstance(container, nn.Sequential | nn.ModuleList) and len(container) > 0:
            return tuple(container)
    numbered: list[nn.Module] = []
    while isinstance(
        stage := getattr(network, _NUMBERED.format(len(numbered) + 1), None), nn.Module
    ):
        numbered.append(stage)
    return tuple(numbered)


def _children(stages: Sequence[nn.Module]) -> tuple[nn.Module, ...]:
    last = stages[-1] if stages else None
    return tuple(last) if isinstance(last, nn.Sequential) else ()


_Seen = dict[int, tuple[Tensor, Tensor, int]]
"""Module id -> the very tensors it read and answered, and how often the answer had been written
to when it came; torch counts."""


def _run(network: nn.Module, modules: Sequence[nn.Module], inputs: Sequence[Tensor]) -> _Seen:
    seen: _Seen = {}

    def read(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if len(arguments) == 1 and isinstance(output, Tensor):
            seen[id(module)] = (arguments[0], output, output._version)

    hooks = [module.register_forward_hook(read) for module in modules]
    try:
        with at_rest(network):
            network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _chain(name: str, stages: Sequence[nn.Module], seen: _Seen) -> Chain:
    ran = [seen.get(id(stage)) for stage in stages]
    tensors = [pair for pair in ran if pair is not None]
    linked = all(before[1] is after[0] for before, after in itertools.pairwise(tensors))
    if any(answer._version != version for _, answer, version in tensors):
        raise ModelError(
            "the network overwrites what its stages answer, so nothing beside it can read it; "
            "layered self-distillation needs another student"
        )
    if not stages or len(tensors) != len(stages) or not linked:
        where = f"encoder {name!r}" if name else "the network"
        raise ModelError(
            f"{where} has no stages that run one after another; layered self-distillation needs "
            "them: choose a ResNet, MobileNet or MobileViT, or a sensor student"
        )
    blocks = [(block, seen[id(block)]) for block in _children(stages) if id(block) in seen]
    return Chain(
        name=name,
        stages=tuple(stages),
        shapes=tuple(tuple(answer.shape[1:]) for _, answer, _ in tensors),
        tail=tuple(block for block, (x, y, _) in blocks if x.shape == y.shape),
    )
