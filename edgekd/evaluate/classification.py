"""Evaluating a torch module on a split, with the pixels and the encoding that a device uses."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.data.cache import PixelSource
from edgekd.evaluate.metrics import metric_from_logits
from edgekd.records import ImageInput, Metric, SplitName


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
    """Logits ``(N, K)`` that ``respond`` gives to the view ``(B, C, H, W)`` of every sample."""
    logits = []
    for start in range(0, len(pixels), batch_size):
        indices = np.arange(start, min(start + batch_size, len(pixels)))
        view = to_view(pixels[indices], device)
        logits.append(respond(view).float().cpu().numpy())
    return np.concatenate(logits)


def predict(module: nn.Module, pixels: PixelSource, spec: ImageInput) -> NDArray[np.float32]:
    """Logits ``(N, K)`` of every sample, in eval mode and fp32; the module's mode is restored."""
    was_training = module.training
    device = next(module.parameters()).device
    module.eval()
    try:
        return answers(lambda view: module(normalise(view, spec)), pixels, device=device)
    finally:
        module.train(was_training)


def evaluate(
    module: nn.Module,
    pixels: PixelSource,
    labels: NDArray[np.int64],
    spec: ImageInput,
    *,
    split: SplitName,
) -> Metric:
    """The classification metric of ``module`` on a whole split."""
    return metric_from_logits(predict(module, pixels, spec), labels, split=split)
