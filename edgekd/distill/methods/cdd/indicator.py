"""Channel importance indicators: 1x1 convolutions that start as the identity and lose rows."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgekd.students.blocks import Site, activation_of, norm_at, replace_at


class IndicatedNorm(nn.Module):
    """BatchNorm, indicator, and the activation that the norm had brought along.

    In training mode it leaves the pooled maps in front of and behind the indicator until somebody
    takes them.

    Args:
        norm: An affine BatchNorm over ``C`` channels, without its activation.
        activation: What follows the indicator inside this module.
    """

    def __init__(self, norm: _BatchNorm, activation: nn.Module) -> None:
        super().__init__()
        self.norm = norm
        self.indicator = nn.Conv2d(norm.num_features, norm.num_features, 1, bias=False)
        nn.init.dirac_(self.indicator.weight)
        self.activation = activation
        self._before: Tensor | None = None
        self._after: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W) -> (B, K, H, W)``: ``K`` is ``C`` until channels are removed."""
        normalised = self.norm(x)
        mixed = self.indicator(normalised)
        if self.training:
            self._before = normalised.mean((2, 3), dtype=torch.float32)
            self._after = mixed.detach().mean((2, 3), dtype=torch.float32)
        return self.activation(mixed)  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        """For a copy, which has seen no batch: torch copies no tensor in the middle of a graph."""
        return self.__dict__ | {"_before": None, "_after": None}

    def rows(self) -> Tensor:
        """``(K, C)``: the indicator, one row per channel that comes out; part of the graph."""
        return self.indicator.weight.flatten(1)

    def take_pooled(self) -> tuple[Tensor, Tensor]:
        """Pooled maps of the last training batch, which are forgotten hereby.

        Returns:
            ``(B, C)`` in front of the indicator, with its graph, and ``(B, K)`` behind it, without.

        Raises:
            RuntimeError: If no training batch has come since the last call.
        """
        before, after = self._before, self._after
        if before is None or after is None:
            raise RuntimeError("the indicator has seen no training batch")
        self._before = self._after = None
        return before, after


def insert_indicators(network: nn.Module, sites: Sequence[Site]) -> None:
    """Put an indicator behind the BatchNorm of every site, in place; the output stays the same."""
    for site in sites:
        norm = norm_at(network, site.norm)
        activation = activation_of(norm)
        if not isinstance(activation, nn.Identity):
            norm.act = nn.Identity()
        replace_at(network, site.norm, IndicatedNorm(norm, activation).train(norm.training))


def indicated_norms(network: nn.Module) -> list[IndicatedNorm]:
    """Every indicator of a network, in module order, whatever wraps the network."""
    return [part for part in network.modules() if isinstance(part, IndicatedNorm)]


def indicated_at(network: nn.Module, site: Site) -> IndicatedNorm:
    """The indicator of one site of a network that nothing wraps.

    Raises:
        TypeError: If there is none.
    """
    part = network.get_submodule(site.norm)
    if not isinstance(part, IndicatedNorm):
        raise TypeError(f"{site.norm}: expected an indicator, found {type(part).__name__}")
    return part


def compression_loss(norms: Sequence[IndicatedNorm]) -> Tensor:
    """Group lasso: the lengths of all rows of all indicators summed, ``()``."""
    return torch.stack([row_lengths(norm.rows()).sum() for norm in norms]).sum()


def row_lengths(rows: Tensor) -> Tensor:
    """Euclidean lengths ``(C,)`` of rows ``(C, n)``, float32.

    The gradient of the length of a row of zeros is 0, never NaN.
    """
    # torch's norm has the subgradient 0 there; the root of a sum of squares would have NaN.
    lengths: Tensor = torch.linalg.vector_norm(rows.float(), dim=1)
    return lengths


def pulled_parameters(network: nn.Module, sites: Sequence[Site]) -> list[Tensor]:
    """Indicators, and biases behind depthwise convolutions, which would speak for a dead channel.

    Args:
        network: With indicators.
        sites: Where they are.
    """
    pulled: list[Any] = [part.indicator.weight for part in indicated_norms(network)]
    followers = [site.follower(network) for site in sites]
    return [*pulled, *(part.bias for part in followers if part is not None)]
