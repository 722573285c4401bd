"""Where a network has inner channels that can be removed without anybody outside noticing.

Residual blocks are told by the modules they are made of, never by a model's name:

- bottleneck: the channels between its 3x3 and its last 1x1 convolution;
- basic block: the channels between its two convolutions;
- inverted residual: the channels between its expanding and its projecting 1x1 convolution, with
  the depthwise convolution and the squeeze-and-excitation layer that work on them.

A channel whose value in front of the activation is zero everywhere must add nothing behind it: the
activation has to map zero to zero, and nothing else may look at the channel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgekd.errors import ModelError
from edgekd.students.head import backbone_of


@dataclass(frozen=True, kw_only=True)
class Site:
    """One set of removable channels, as module paths from the network's root."""

    block: str
    """The residual block."""
    conv: str
    """The convolution the channels come out of."""
    norm: str
    """The BatchNorm behind it; timm's may hold the activation too."""
    consumer: str
    """The convolution that reads the channels."""
    depthwise: str | None = None
    """A depthwise convolution in between."""
    depthwise_norm: str | None = None
    """The BatchNorm behind that one."""
    squeeze: tuple[str, str] | None = None
    """The reducing and the expanding layer of a squeeze-and-excitation in between."""

    def within(self, path: str) -> "Site":
        """The same site seen from a module that holds this root at ``path``."""
        parts = {
            name: _join(path, value) if isinstance(value, str) else value
            for name, value in vars(self).items()
        }
        if self.squeeze is not None:
            parts["squeeze"] = tuple(_join(path, layer) for layer in self.squeeze)
        return Site(**parts)  # type: ignore[arg-type]

    def follower(self, network: nn.Module) -> nn.Module | None:
        """The BatchNorm behind the depthwise convolution, if there is one."""
        path = self.depthwise_norm
        return None if path is None else network.get_submodule(path)


def find_sites(network: nn.Module) -> tuple[Site, ...]:
    """Every site of a network, in the order of its modules; empty where there is none."""
    sites = []
    for path, part in network.named_modules():
        found = next(filter(None, (recognise(part) for recognise in _RECOGNISERS)), None)
        if found is not None:
            sites.append(found.within(path))
    return tuple(sites)


def require_sites(network: nn.Module, *, purpose: str) -> tuple[Site, ...]:
    """The sites of a network that must have some.

    Raises:
        ModelError: If it has none.
    """
    sites = find_sites(network)
    if not sites:
        raise ModelError(
            f"{type(backbone_of(network)).__name__} has nothing to {purpose}: no bottleneck, "
            "basic block or inverted residual with BatchNorm was found (in a student that cdd has "
            "made none is left: take the network it started from); choose a ResNet, "
            "MobileNetV2, MobileNetV3 or EfficientNet, or use method kd"
        )
    return sites


def site_widths(network: nn.Module, sites: Sequence[Site]) -> tuple[int, ...]:
    """Channels of every site, before or after a removal."""
    return tuple(conv_at(network, site.conv).out_channels for site in sites)


def conv_at(network: nn.Module, path: str) -> nn.Conv2d:
    """The convolution at a path."""
    part = network.get_submodule(path)
    if not isinstance(part, nn.Conv2d):
        raise TypeError(f"{path}: expected a convolution, found {type(part).__name__}")
    return part


def norm_at(network: nn.Module, path: str) -> _BatchNorm:
    """The BatchNorm at a path."""
    part = network.get_submodule(path)
    if not isinstance(part, _BatchNorm):
        raise TypeError(f"{path}: expected a BatchNorm, found {type(part).__name__}")
    return part


def before_activation(norm: nn.Module) -> nn.Module:
    """The module whose output is the normalised map, whether or not ``norm`` activates it too."""
    return norm.drop if _own_activation(norm) is not None else norm  # type: ignore[return-value]


def activation_of(norm: nn.Module) -> nn.Module:
    """What ``norm`` does to the normalised map by itself: its activation, or nothing."""
    return _own_activation(norm) or nn.Identity()


def replace_at(network: nn.Module, path: str, part: nn.Module) -> None:
    """Put ``part`` where ``path`` leads."""
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, part)


def _bottleneck(block: nn.Module) -> Site | None:
    if not _is_chain(block, "conv2", "bn2", "conv3") or not _has_norm(block, "bn3"):
        return None
    return Site(block="", conv="conv2", norm="bn2", consumer="conv3")


def _basic_block(block: nn.Module) -> Site | None:
    if hasattr(block, "conv3") or not _is_chain(block, "conv1", "bn1", "conv2"):
        return None
    return Site(block="", conv="conv1", norm="bn1", consumer="conv2")


def _inverted_residual(block: nn.Module) -> Site | None:
    depthwise = getattr(block, "conv_dw", None)
    if not (
        _is_dense(block, "conv_pw")
        and _is_depthwise(depthwise)
        and _is_dense(block, "conv_pwl")
        and _has_norm(block, "bn1")
        and _has_norm(block, "bn2")
        and _is_neutral(block)
    ):
        return None
    excitation = getattr(block, "se", None)
    squeeze = _squeeze_layers(excitation)
    if squeeze is None and not isinstance(excitation, nn.Identity | None):
        return None
    return Site(
        block="",
        conv="conv_pw",
        norm="bn1",
        consumer="conv_pwl",
        depthwise="conv_dw",
        depthwise_norm="bn2",
        squeeze=squeeze,
    )


_RECOGNISERS: Final[tuple[Callable[[nn.Module], Site | None], ...]] = (
    _bottleneck,
    _basic_block,
    _inverted_residual,
)
_SQUEEZES: Final = (("conv_reduce", "conv_expand"), ("fc1", "fc2"))
_BETWEEN: Final = ("relu", "act", "act1", "act2")
"""What residual blocks call the activation between two convolutions."""


def _is_chain(block: nn.Module, conv: str, norm: str, consumer: str) -> bool:
    if not (_is_dense(block, conv) and _has_norm(block, norm) and _is_dense(block, consumer)):
        return False
    made, read = getattr(block, conv), getattr(block, consumer)
    return made.out_channels == read.in_channels and _is_neutral(block)


def _is_dense(block: nn.Module, name: str) -> bool:
    conv = getattr(block, name, None)
    return isinstance(conv, nn.Conv2d) and conv.groups == 1


def _is_depthwise(conv: Any) -> bool:
    return isinstance(conv, nn.Conv2d) and conv.groups == conv.in_channels == conv.out_channels


def _has_norm(block: nn.Module, name: str) -> bool:
    norm = getattr(block, name, None)
    return isinstance(norm, _BatchNorm) and norm.affine and _keeps_zero(activation_of(norm))


def _is_neutral(block: nn.Module) -> bool:
    """Whether all that may lie between the convolutions treats every channel alike."""
    blur = getattr(block, "aa", None)
    parts = (getattr(block, name, None) for name in _BETWEEN)
    activations = [part for part in parts if isinstance(part, nn.Module)]
    is_blurred = not isinstance(blur, nn.Identity | nn.AvgPool2d | None)
    return not is_blurred and all(map(_keeps_zero, activations))


def _keeps_zero(activation: nn.Module) -> bool:
    if any(True for _ in activation.parameters()):
        return False
    return bool(activation(torch.zeros(1)).item() == 0)


def _squeeze_layers(excitation: Any) -> tuple[str, str] | None:
    for reduce, expand in _SQUEEZES:
        layers = (getattr(excitation, reduce, None), getattr(excitation, expand, None))
        if all(isinstance(layer, nn.Conv2d) for layer in layers):
            return f"se.{reduce}", f"se.{expand}"
    return None


def _own_activation(norm: nn.Module) -> nn.Module | None:
    """The activation inside a norm of timm, which runs ``drop`` and then ``act``."""
    activation = getattr(norm, "act", None)
    has_both = isinstance(activation, nn.Module) and hasattr(norm, "drop")
    return activation if has_both else None


def _join(path: str, name: str) -> str:
    return f"{path}.{name}".strip(".")
