"""Training views: crop, flip, erasing, RandAugment on pixels; mixup and CutMix on the batch.

All randomness comes from a generator that depends on seed, epoch and step alone, and is drawn for
the global batch before it is cut among processes: a resumed run and a run on several processes see
the same views.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms import RandAugment
from torchvision.transforms.v2 import CutMix, MixUp, RandomChoice

from edgekd.config import AugmentRecipe
from edgekd.records import ImageInput, InputSpec

_NATURAL_CHANNELS = 3  # grey data sets here are symbols; a mirrored digit is another symbol
_ERASED_SHARES = (0.02, 0.4)  # of the image's area, as published
_ERASED_ASPECTS = (0.3, 1 / 0.3)  # height over width


@dataclass(frozen=True, kw_only=True)
class Augment:
    """A resolved :class:`~edgekd.config.AugmentRecipe`: no ``auto`` is left."""

    crop_padding: int
    flip: bool
    erasing: float
    fill: tuple[int, ...]
    """What an erased pixel becomes: the mean of the training split, which normalises to zero."""
    randaugment: int
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None
    mix_share: float = 1.0
    """Of the steps."""
    plain_from: float = math.inf
    """The first epoch in which images are only mirrored."""

    def at(self, epoch: int) -> "Augment":
        """What is done in an epoch."""
        if epoch < self.plain_from:
            return self
        return replace(self, crop_padding=0, erasing=0.0, randaugment=0, mix=None)

    def describe(self) -> str:
        """One line for the log."""
        return (
            f"crop padding {self.crop_padding}, flip {'on' if self.flip else 'off'}, "
            f"erasing {self.erasing or 'off'}, RandAugment {self.randaugment or 'off'}, "
            f"mixing {f'{self.mix_share:.0%} of the steps' if self.mix else 'off'}"
        )


def resolve_augment(
    recipe: AugmentRecipe, specs: Sequence[InputSpec], *, num_classes: int, epochs: int
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
        erasing=recipe.erasing,
        fill=tuple(round(255 * mean) for mean in image.mean) if image is not None else (),
        randaugment=recipe.randaugment,
        mix=RandomChoice(mixers) if mixers else None,
        mix_share=recipe.mix_share,
        plain_from=round(recipe.until * epochs),
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


def erase(
    pixels: NDArray[np.uint8], augment: Augment, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Paint a rectangle of random size and shape over a share of the images.

    It has 2 to 40 % of an image's area unless its shape does not fit; then it is cut off.

    Args:
        pixels: ``(B, H, W, C)``.
        augment: How often, and with which colour.
        rng: Not drawn from where nothing is erased.

    Returns:
        ``(B, H, W, C)``.

    Source:
        Zhong et al. (2017), arXiv:1708.04896, algorithm 1.
    """
    if not augment.erasing:
        return pixels
    count, height, width, _ = pixels.shape
    chosen = np.less(rng.random(size=count), augment.erasing)
    area = height * width * rng.uniform(*_ERASED_SHARES, size=count)
    aspect = rng.uniform(*_ERASED_ASPECTS, size=count)
    rows = _stretch(height, np.sqrt(area * aspect), rng)
    columns = _stretch(width, np.sqrt(area / aspect), rng)
    erased = chosen[:, None, None] & rows[:, :, None] & columns[:, None, :]
    return np.where(erased[..., None], np.array(augment.fill, dtype=np.uint8), pixels)


def _stretch(
    size: int, lengths: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """``(B, size)``: a random run of positions of each length inside an axis."""
    whole = np.clip(np.rint(lengths), 1, size).astype(np.int64)
    begin = np.floor(rng.random(size=len(whole)) * (size - whole + 1)).astype(np.int64)
    positions = np.arange(size)
    return (positions >= begin[:, None]) & (positions < (begin + whole)[:, None])


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
