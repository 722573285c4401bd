"""``builtin:digits``: scikit-learn's 1,797 handwritten digits, 8x8, grey; no download.

Source: E. Alpaydin & C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI, CC BY 4.0.
"""

import numpy as np

from edgekd.config import DataRecipe
from edgekd.console import Console
from edgekd.data.arrays import image_contents
from edgekd.data.dataset import Contents
from edgekd.errors import MissingExtraError


def open_digits(recipe: DataRecipe, console: Console) -> Contents:
    """The digits as uint8; 16 levels of ink become 0 to 255, and there is no split of their own.

    Raises:
        MissingExtraError: If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError(
            "scikit-learn", extra="train", purpose="load builtin:digits"
        ) from error
    images, labels = load_digits().images, load_digits().target
    return image_contents(
        np.floor(images * (255 / 16) + 0.5).astype(np.uint8)[..., None],
        names=tuple(f"digits[{row}]" for row in range(len(labels))),
        labels=labels.astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
    )
