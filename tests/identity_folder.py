"""Folders of identities: each is a colour, seen with noise, and train and test share none."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_identities(
    root: Path, *, train: int = 8, test: int = 4, images: int = 6, size: int = 8, seed: int = 0
) -> Path:
    """``train/<identity>/<n>.png`` and ``test/...``; no validation, which is cut off train."""
    rng = np.random.default_rng(seed)
    colours = rng.permutation(train + test) * 255 / (train + test - 1)
    for identity, tone in enumerate(colours):
        split = "train" if identity < train else "test"
        folder = root / split / f"id{identity:02}"
        folder.mkdir(parents=True)
        colour = np.array([tone, 255 - tone, (3 * tone) % 255])
        for number in range(images):
            pixels = colour + rng.normal(0, 20, (size, size, 3))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(folder / f"{number}.png")
    return root
