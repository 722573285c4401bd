"""Evaluating a torch module on a split, with the pixels and the encoding that a device uses."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.data.cache import PixelSource
from edgekd.evaluate.metrics import metrics_of
from edgekd.records import ImageInput, Metric, SplitName, Task
from edgekd.students.head import deployed_answer


def normalise(view: Tensor, spec: ImageInput) -> Tensor:
    """``(B, C, H, W)`` in [0, 1] ``-> (view - mean) / std`` per channel, same shape."""
    mean = torch.tensor(spec.mean, dtype=view.dtype, device=view.device).view(1, -1, 1, 1)
    std = torch.tensor(spec.std, dtype=view.dtype, device=view.device).view(1, -1, 1, 1)
    return (view - mean) / std


def to_view(pixels: NDArray[np.uint8], device: torch.device) -> Tensor:
    """uint8 ``(B, H, W, C)`` ``->`` float ``(B, C, H, W)`` in [0, 1], channels last in memory."""
    tensor = torch.from_numpy(pixels).to(device)
    return tensor.permute(0, 3, 1, 2).to(torch.float32).div_(255.0)


@torch.no_grad()
def answers(
    respond: Callable[[Tensor], Tensor],
    pixels: PixelSource,
    *,
    device: torch.device,
    batch_size: int = 256,
) -> NDArray[np.float32]:
    """What ``respond`` gives to the view ``(B, C, H, W)`` of every sample.

    Logits ``(N, K)`` or embeddings ``(N, D)``.
    """
    parts = []
    for start in range(0, len(pixels), batch_size):
        indices = np.arange(start, min(start + batch_size, len(pixels)))
        view = to_view(pixels[indices], device)
        parts.append(respond(view).float().cpu().numpy())
    return np.concatenate(parts)


def predict(module: nn.Module, pixels: PixelSource, spec: ImageInput) -> NDArray[np.float32]:
    """Logits ``(N, K)`` or embeddings ``(N, D)`` of every sample, as deployed.

    In eval mode and fp32; the module's mode is restored.
    """
    was_training = module.training
    device = next(module.parameters()).device
    module.eval()
    try:
        return answers(
            lambda view: deployed_answer(module(normalise(view, spec))), pixels, device=device
        )
    finally:
        module.train(was_training)


def evaluate(
    module: nn.Module,
    pixels: PixelSource,
    labels: NDArray[np.int64],
    spec: ImageInput,
    *,
    split: SplitName,
    task: Task = "classification",
    cameras: NDArray[np.int64] | None = None,
) -> Metric:
    """The metric that stands for the task, of ``module`` on a whole split.

    Args:
        module: The network, with or without what is for training only.
        pixels: The split's.
        labels: ``(N,)``, classes or identities.
        spec: The network's input.
        split: Which split it is.
        task: Which metric.
        cameras: ``(N,)`` where they are known.
    """
    found = predict(module, pixels, spec)
    return metrics_of(task, found, labels, cameras, split=split)[0]
