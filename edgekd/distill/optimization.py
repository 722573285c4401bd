"""Optimizer, learning-rate schedule and weight averaging."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from edgekd.config import SettledRecipe


def make_optimizer(
    module: nn.Module, recipe: SettledRecipe, own_groups: Sequence[dict[str, Any]] = ()
) -> torch.optim.Optimizer:
    """SGD with Nesterov momentum, or AdamW; weight decay on matrices and kernels only.

    Args:
        module: Whose parameters are trained.
        recipe: Its optimizer, rates and decay.
        own_groups: Groups of parameters of ``module`` with settings of their own; the recipe's
            settings hold for the others.
    """
    taken = {id(parameter) for group in own_groups for parameter in group["params"]}
    others = ((n, p) for n, p in module.named_parameters() if id(p) not in taken)
    groups = [*decay_groups(others, recipe.weight_decay), *own_groups]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.momentum > 0,
            fused=True,
        )
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Load a saved ``state_dict()``, laid out in memory as the parameters it belongs to.

    A fused step walks memory, and a checkpoint keeps values, not strides.
    """
    optimizer.load_state_dict(dict(saved))
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def decay_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], weight_decay: float
) -> list[dict[str, object]]:
    """Two groups: kernels and matrices decay, norms, biases and other vectors do not."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for _, parameter in parameters:
        if parameter.requires_grad:
            (decayed if parameter.ndim > 1 else free).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def learning_rate(recipe: SettledRecipe, step: int, *, steps_per_epoch: int) -> float:
    """Linear warm-up to ``lr``, then half a cosine to ``min_lr``; a function of the step alone.

    Args:
        recipe: Its ``lr``, ``min_lr``, ``warmup_epochs`` and ``epochs``.
        step: Global step from 0.
        steps_per_epoch: Steps in one epoch.

    Source:
        Loshchilov & Hutter (2017), arXiv:1608.03983, equation 5, one cycle.
    """
    total = recipe.epochs * steps_per_epoch
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 2)
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * progress)) / 2


def make_average(module: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of ``module``'s parameters and buffers."""
    return AveragedModel(
        module,
        multi_avg_fn=get_ema_multi_avg_fn(decay),  # type: ignore[no-untyped-call]
        use_buffers=True,
    )
