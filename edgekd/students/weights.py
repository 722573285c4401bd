"""Starting a network from a local weights file: safetensors only, and nothing left unsaid."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import safetensors
import safetensors.torch
from torch import Tensor, nn

from edgekd.bundle import WEIGHTS_FILE
from edgekd.console import Console
from edgekd.errors import BundleError, ModelError

_PICKLES: Final = {".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl", ".pth.tar"}
_NAMED_AT_MOST: Final = 3  # keys in one message


def load_weights(
    module: nn.Module, path: Path, *, replace_head: bool = False, console: Console
) -> None:
    """Fill ``module`` with the tensors of a safetensors file; every key and shape must fit.

    Args:
        module: Changed in place.
        path: A ``.safetensors`` file.
        replace_head: For fine-tuning: a classifier of another shape stays as initialised, and the
            console says so.
        console: Where that is said.

    Raises:
        ModelError: If the file is a pickle by its suffix, or keys or shapes differ.
        BundleError: If it cannot be read as safetensors.
    """
    tensors = read_weights(path)
    own = module.state_dict()
    if replace_head:
        tensors = _without_other_head(module, own, tensors, path, console)
    else:
        _check(own, tensors, path)
    module.load_state_dict(tensors, strict=False)  # what may be absent was checked above


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ModelError: If the suffix is that of a pickle, which could run code.
        BundleError: If it is missing, a folder, truncated or not safetensors.
    """
    refuse_pickle(path)
    if path.is_dir():
        raise BundleError(f"{path}: a folder; give the file in it: {path / WEIGHTS_FILE}")
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(f"{path}: not a safetensors file ({reason}); copy it again") from error


def refuse_pickle(path: Path) -> None:
    """Refuse files that are pickles by their suffix, and say how to convert them.

    Raises:
        ModelError: If it is one.
    """
    if path.suffix.lower() in _PICKLES:
        raise ModelError(
            f"{path}: a pickle can run code when it is opened; where you trust it, convert it: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'x.safetensors')"
        )


def head_names(module: nn.Module) -> tuple[str, ...]:
    """Names of the classifier's layers: those the module names, else the last linear layer."""
    config = getattr(module, "pretrained_cfg", None) or {}  # timm's
    named = config.get("classifier") or getattr(module, "classifier_name", None)
    if named:
        return (named,) if isinstance(named, str) else tuple(named)
    linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return tuple(linear[-1:])


def _without_other_head(
    module: nn.Module,
    own: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    path: Path,
    console: Console,
) -> dict[str, Tensor]:
    heads = tuple(f"{name}." for name in head_names(module))
    other = {
        key
        for key in own.keys() | tensors.keys()
        if key.startswith(heads) and _shape(own, key) != _shape(tensors, key)
    }
    kept = {key: value for key, value in tensors.items() if key not in other}
    _check({key: value for key, value in own.items() if key not in other}, kept, path)
    if other:
        console.info(
            f"{path.name}: its classifier has another shape or is missing; "
            f"a fresh one is trained ({', '.join(sorted(other))})"
        )
    return kept


def _check(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    problems = [
        *(f"{key} is missing" for key in sorted(own.keys() - tensors.keys())),
        *(f"{key} is not part of the architecture" for key in sorted(tensors.keys() - own.keys())),
        *(
            f"{key} has shape {_shape(tensors, key)}, expected {_shape(own, key)}"
            for key in sorted(own.keys() & tensors.keys())
            if _shape(own, key) != _shape(tensors, key)
        ),
    ]
    if problems:
        more = len(problems) - _NAMED_AT_MOST
        listed = "; ".join(problems[:_NAMED_AT_MOST]) + (f"; and {more} more" if more > 0 else "")
        raise ModelError(
            f"{path}: does not fit the architecture ({listed}); "
            "give the weights of this architecture, with its options"
        )


def _shape(tensors: Mapping[str, Tensor], key: str) -> tuple[int, ...] | None:
    return tuple(tensors[key].shape) if key in tensors else None
