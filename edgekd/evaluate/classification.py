"""Evaluating a torch module on a split, with the samples and the encoding that a device uses."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.console import Console, SilentConsole
from edgekd.data.roles import Roles
from edgekd.evaluate.metrics import metrics_of
from edgekd.records import InputSpec, Metric, SignalInput, SplitName, Task
from edgekd.students.head import deployed_answer

Arrays = tuple[NDArray[Any], ...]


class Source(Protocol):
    """Decoded samples of every input by index, as :class:`edgekd.data.cache.InputSource`."""

    def __len__(self) -> int:
        """Samples."""

    def __getitem__(self, indices: NDArray[np.int64]) -> Arrays:
        """One array of ``n`` samples per input."""


def normalise(view: Tensor, spec: InputSpec) -> Tensor:
    """``(view - mean) / std`` per channel, limited where the spec says so; same shape.

    Args:
        view: ``(B, C, H, W)`` in [0, 1] of an image, ``(B, C, T)`` of a sensor.
        spec: Of that input.
    """
    shape = (1, -1, *(1,) * (view.ndim - 2))
    mean = torch.tensor(spec.mean, dtype=view.dtype, device=view.device).view(shape)
    std = torch.tensor(spec.std, dtype=view.dtype, device=view.device).view(shape)
    normalised = (view - mean) / std
    if isinstance(spec, SignalInput) and spec.clip is not None:
        return normalised.clamp(-spec.clip, spec.clip)
    return normalised


def normalise_all(views: Sequence[Tensor], specs: Sequence[InputSpec]) -> tuple[Tensor, ...]:
    """:func:`normalise` for every input."""
    return tuple(normalise(view, spec) for view, spec in zip(views, specs, strict=True))


def to_view(samples: NDArray[Any], device: torch.device) -> Tensor:
    """Decoded samples of one input as a tensor that is not normalised yet.

    Args:
        samples: uint8 ``(B, H, W, C)`` of an image, float32 ``(B, C, T)`` of a sensor.
        device: Where to.

    Returns:
        Float ``(B, C, H, W)`` in [0, 1], channels last in memory; or ``(B, C, T)`` as it was.
    """
    tensor = torch.from_numpy(samples).to(device)
    if samples.dtype != np.uint8:
        return tensor
    return tensor.permute(0, 3, 1, 2).to(torch.float32).div_(255.0)


@torch.no_grad()
def answers(
    respond: Callable[..., Tensor],
    source: Source,
    *,
    device: torch.device,
    batch_size: int = 256,
    console: Console | None = None,
    description: str = "Predicting",
) -> NDArray[np.float32]:
    """What ``respond`` gives to the views of every sample, one positional argument per input.

    Args:
        respond: Answers a batch.
        source: The samples.
        device: Where the views are to lie.
        batch_size: Samples at a time.
        console: Shows a progress bar over the samples.
        description: Stands beside it.

    Returns:
        Logits ``(N, K)`` or embeddings ``(N, D)``.
    """
    parts = []
    with (console or SilentConsole()).track(description, len(source)) as tracker:
        for start in range(0, len(source), batch_size):
            indices = np.arange(start, min(start + batch_size, len(source)))
            views = (to_view(samples, device) for samples in source[indices])
            parts.append(respond(*views).float().cpu().numpy())
            tracker.advance(len(indices))
    return np.concatenate(parts)


def predict(
    module: nn.Module,
    source: Source,
    specs: Sequence[InputSpec],
    *,
    console: Console | None = None,
    description: str = "Predicting",
) -> NDArray[np.float32]:
    """Logits ``(N, K)`` or embeddings ``(N, D)`` of every sample, as deployed.

    In eval mode and fp32; the module's mode is restored. The bar is that of :func:`answers`.
    """
    was_training = module.training
    device = next(module.parameters()).device
    module.eval()
    try:
        return answers(
            lambda *views: deployed_answer(module(*normalise_all(views, specs))),
            source,
            device=device,
            console=console,
            description=description,
        )
    finally:
        module.train(was_training)


def evaluate(
    module: nn.Module,
    source: Source,
    labels: NDArray[np.int64],
    specs: Sequence[InputSpec],
    *,
    split: SplitName,
    task: Task = "classification",
    cameras: NDArray[np.int64] | None = None,
    roles: Roles | None = None,
    console: Console | None = None,
) -> Metric:
    """The metric that stands for the task, of ``module`` on a whole split.

    Args:
        module: The network, with or without what is for training only.
        source: The split's samples.
        labels: ``(N,)``, classes or identities.
        specs: The network's inputs.
        split: Which split it is.
        task: Which metric.
        cameras: ``(N,)`` where they are known.
        roles: Of the samples, where they have any.
        console: Shows a progress bar over the samples.
    """
    found = predict(module, source, specs, console=console, description=f"Scoring {split}")
    return metrics_of(task, found, labels, cameras, roles, split=split)[0]
