"""Weights of a network that is ready for conversion, where they are not those of its bundle."""

from pathlib import Path

import safetensors
import safetensors.torch
from torch import nn

from edgekd.bundle import sha256_of
from edgekd.errors import ConfigError


def folded_bytes(network: nn.Module) -> bytes:
    """All tensors of a prepared network as safetensors, on the CPU and in plain memory order."""
    return safetensors.torch.save(
        {name: x.detach().cpu().clone().contiguous() for name, x in network.state_dict().items()}
    )


def load_folded(network: nn.Module, path: Path, *, sha256: str | None = None) -> nn.Module:
    """Put saved weights into a prepared network.

    Args:
        network: Of the same student, just prepared; changed in place and returned.
        path: What :func:`folded_bytes` wrote.
        sha256: Of the file, where it is known.

    Raises:
        ConfigError: If the file is missing, altered, or of another network.
    """
    try:
        if sha256 is not None and sha256_of(path) != sha256:
            raise ValueError("its sha256 is another one")
        network.load_state_dict(safetensors.torch.load_file(path), strict=True)
    except (OSError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{path}: not the weights that the recovery trained ({reason}); put the file of that "
            "export beside its recipe, or recover again"
        ) from error
    return network
