"""What a weights file of a timm architecture was made for, told by the shapes of its tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgekd.students import timm_family
from edgekd.students.weights import read_weights

_CONV_AXES: Final = 4  # (out, in, height, width)


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The two ends of a network.

    Attributes:
        num_classes: ``K`` of the classifier; ``None`` where the file holds none.
        in_channels: ``C`` of the input; 3 where the first layer is no convolution.
    """

    num_classes: int | None
    in_channels: int


def ends_of(name: str, path: Path) -> Ends:
    """The ends of a network of timm's, as its weights file has them.

    Args:
        name: Of the architecture, which says how the layers at the ends are called.
        path: A safetensors file.

    Raises:
        ModelError: If timm has no such name, or the file is a pickle.
        BundleError: If the file is damaged.
    """
    config = timm_family.published(name)
    shapes = {key: tuple(tensor.shape) for key, tensor in read_weights(path).items()}
    heads = [shapes.get(f"{layer}.weight", ()) for layer in _layers(config.classifier)]
    stems = [shapes.get(f"{layer}.weight", ()) for layer in _layers(config.first_conv)]
    return Ends(
        num_classes=next((shape[0] for shape in heads if shape), None),
        in_channels=next((shape[1] for shape in stems if len(shape) == _CONV_AXES), 3),
    )


def _layers(named: str | Sequence[str] | None) -> tuple[str, ...]:
    """Where timm names one layer, several, or none, all of them."""
    return (named,) if isinstance(named, str) else tuple(named or ())
