"""Windows of sensors as they come in an ``.npz``: names that inputs can have, shapes, numbers."""

import re
from keyword import iskeyword
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from edgekd.console import Console
from edgekd.data.arrays import Arrays, refuse_nan
from edgekd.errors import DataError

_TAKEN: Final = ("image", "logits", "embedding", "self")
"""By images, by what files answer, and by the converter to TFLite, which passes inputs as keyword
arguments of a Python method; so a keyword of Python cannot be one either."""
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_WINDOW_AXES: Final = 3  # (N, C, T)
_VECTOR_AXES: Final = 2  # (N, C)


def checked_signals(signals: Arrays, path: Path, console: Console) -> dict[str, NDArray[Any]]:
    """Windows ``(N, C, T)`` of every modality; a vector ``(N, C)`` has one time step.

    Args:
        signals: By the modality's name.
        path: Of the file, for messages.
        console: Told of vectors: a window whose axes were flattened looks like one.

    Raises:
        DataError: If a modality has a name that no model's input can have, another shape, or values
            that are no finite numbers.
    """
    checked = {}
    for name, values in signals.items():
        is_vector = values.ndim == _VECTOR_AXES
        windows = values[:, :, None] if is_vector else values
        if windows.ndim != _WINDOW_AXES or windows.dtype.kind not in "uif" or 0 in windows.shape:
            raise DataError(
                f"{path}: x_{name} is {values.dtype} {values.shape}; expected numbers (N, C, T), "
                "or (N, C) for a vector"
            )
        if _NAME.fullmatch(name) is None or name in _TAKEN or iskeyword(name):
            raise DataError(
                f"{path}: x_{name}: a modality becomes the name of a model's input; letters, "
                f"digits and underscores, beginning with a letter, and not {', '.join(_TAKEN)} or "
                "a keyword of Python"
            )
        refuse_nan(windows, f"x_{name}", str(path))
        if is_vector:
            console.info(
                f"{path}: x_{name} {values.shape} is taken as a vector of {values.shape[1]} "
                "channels, without time; windows have three axes (N, C, T)"
            )
        checked[name] = windows
    return checked
