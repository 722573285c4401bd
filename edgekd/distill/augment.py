"""Training views: crop, flip, RandAugment on pixels; mixup and CutMix on the batch.

All randomness comes from a generator that depends on seed, epoch and step alone, and is drawn for
the global batch before it is cut among processes: a resumed run and a run on several processes see
the same views.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import RandAugment
from torchvision.transforms.v2 import CutMix, MixUp, RandomChoice

from edgekd.config import AugmentRecipe
from edgekd.records import ImageInput, InputSpec

_NATURAL_CHANNELS = 3  # grey data sets here are symbols; a mirrored digit is another symbol


@dataclass(frozen=True, kw_only=True)
class Augment:
    """A resolved :class:`~edgekd.config.AugmentRecipe`: no ``auto`` is left."""

    crop_padding: int
    flip: bool
    randaugment: int
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None

    def describe(self) -> str:
        """One line for the log."""
        return (
            f"crop padding {self.crop_padding}, flip {'on' if self.flip else 'off'}, "
            f"RandAugment {self.randaugment or 'off'}, mixing {'on' if self.mix else 'off'}"
        )


def resolve_augment(
    recipe: AugmentRecipe, specs: Sequence[InputSpec], *, num_classes: int
) -> Augment:
    """Fill in what the recipe leaves to ``auto`` from the kind of images; signals stay as is."""
    image = next((spec for spec in specs if isinstance(spec, ImageInput)), None)
    natural = image is not None and image.channels == _NATURAL_CHANNELS
    padding = recipe.crop_padding
    if padding == "auto":
        padding = image.width // 8 if image is not None and natural else 0
    mixers = []
    if recipe.mixup:
        mixers.append(MixUp(alpha=recipe.mixup, num_classes=num_classes))
    if recipe.cutmix:
        mixers.append(CutMix(alpha=recipe.cutmix, num_classes=num_classes))
    return Augment(
        crop_padding=padding,
        flip=natural if recipe.flip == "auto" else recipe.flip,
        randaugment=recipe.randaugment,
        mix=RandomChoice(mixers) if mixers else None,
    )


def crop_and_flip(
    pixels: NDArray[np.uint8], augment: Augment, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Shift each image by up to ``crop_padding`` pixels (reflected edges) and mirror half of them.

    Args:
        pixels: ``(B, H, W, C)``.
        augment: What to do.
        rng: Drawn from in a fixed order, whatever ``augment`` says.

    Returns:
        ``(B, H, W, C)``; one gather for both operations.
    """
    count, height, width, _ = pixels.shape
    reach = augment.crop_padding
    shifts = rng.integers(-reach, reach + 1, size=(2, count))
    mirrored = np.less(rng.random(size=count), 0.5)
    if reach == 0 and not augment.flip:
        return pixels
    rows = _reflect(np.arange(height) + shifts[0][:, None], height)
    columns = _reflect(np.arange(width) + shifts[1][:, None], width)
    if augment.flip:  # a mirror image reads the same columns backwards
        columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
    return pixels[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def rand_augment(pixels: NDArray[np.uint8], magnitude: int, *, seed: int) -> NDArray[np.uint8]:
    """RandAugment with two operations, each image with a seed of its own.

    Args:
        pixels: ``(B, H, W, C)``.
        magnitude: 1 to 30.
        seed: Of the first image; the others count up.

    Source:
        Cubuk et al. (2019), arXiv:1909.13719, section 3; torchvision's implementation.
    """
    transform = RandAugment(num_ops=2, magnitude=magnitude)
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    views = []
    with torch.random.fork_rng(devices=[]):
        for offset, image in enumerate(tensor):
            torch.manual_seed(seed + offset)
            views.append(transform(image))
    return torch.stack(views).permute(0, 2, 3, 1).contiguous().numpy()


def _reflect(positions: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Mirror positions outside ``[0, size)`` back inside, without repeating the edge pixel."""
    period = max(2 * (size - 1), 1)
    folded = np.abs(positions) % period
    return np.where(folded >= size, period - folded, folded)
