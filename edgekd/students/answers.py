"""What a layer answers: a map ``(B, C, H, W)``, tokens ``(B, N, C)`` or a vector ``(B, C)``.

Convolutional networks, transformers and pooled networks are read alike through these.
"""

from typing import Final

from torch import Tensor

MAP_AXES: Final = 4  # (B, C, H, W)
TOKEN_AXES: Final = 3  # (B, N, C)
VECTOR_AXES: Final = 2  # (B, C)


def pooled(answer: Tensor) -> Tensor:
    """The mean over positions, ``(B, C)``; a vector is its own."""
    if answer.ndim == MAP_AXES:
        return answer.mean(dim=(2, 3))
    return answer.mean(dim=1) if answer.ndim == TOKEN_AXES else answer


def as_tokens(answer: Tensor) -> Tensor:
    """Every position a token, ``(B, positions, C)``; a vector has one position."""
    if answer.ndim == MAP_AXES:
        return answer.flatten(2).transpose(1, 2)
    return answer.unsqueeze(1) if answer.ndim == VECTOR_AXES else answer


def channels_of(shape: tuple[int, ...]) -> int:
    """``C`` of an answer's shape without its batch axis.

    >>> channels_of((16, 8, 8)), channels_of((49, 192)), channels_of((64,))
    (16, 192, 64)
    """
    return shape[0] if len(shape) + 1 == MAP_AXES else shape[-1]
