"""Removing channels for good: exact merging, narrower modules, and building them anew.

A site's indicator is a 1x1 convolution ``Q`` behind the BatchNorm. All three are linear, so they
become one convolution with a bias; rows of ``Q`` that are gone are channels that are gone, in every
module that has seen them. What is left holds ordinary convolutions only and can be built again
from a list of widths.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgekd.errors import ModelError
from edgekd.students.blocks import (
    Site,
    activation_of,
    conv_at,
    norm_at,
    replace_at,
    require_sites,
    site_widths,
)


@torch.no_grad()
def merged_kernel(conv: nn.Conv2d, norm: _BatchNorm, mixing: Tensor) -> tuple[Tensor, Tensor]:
    """Kernel and bias of ``mixing @ norm(conv(x))`` in eval mode, in one convolution.

    ``K[o] = sum_c Q[o, c] g_c / s_c K2[c]`` and ``b = Q (beta + (b2 - mu) g / s)`` with
    ``s = sqrt(var + eps)``; computed in float64.

    Args:
        conv: Kernel ``(C, I, h, w)``, with or without a bias.
        norm: An affine BatchNorm over ``C`` channels.
        mixing: ``(O, C)``: the rows of the indicator that stay.

    Returns:
        ``(O, I, h, w)`` and ``(O,)``, of the kernel's dtype.
    """
    dtype = conv.weight.dtype
    mean, variance = _running_statistics(norm)
    gain = norm.weight.double() / (variance.double() + norm.eps).sqrt()
    offset = norm.bias.double() - mean.double() * gain
    if conv.bias is not None:
        offset = offset + conv.bias.double() * gain
    mixing = mixing.double()
    kernel = torch.einsum("oc,cihw->oihw", mixing * gain, conv.weight.double())
    return kernel.to(dtype), (mixing @ offset).to(dtype)


def _running_statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Running mean and variance of a BatchNorm.

    Raises:
        ModelError: If it keeps none: then its output depends on the batch, and nothing merges it.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ModelError("a BatchNorm without running statistics cannot be merged")
    return norm.running_mean, norm.running_var


@torch.no_grad()
def merge_site(
    network: nn.Module, site: Site, norm: _BatchNorm, mixing: Tensor, kept: Tensor
) -> None:
    """Turn convolution, BatchNorm and indicator of a site into one convolution, in place.

    What lies at ``site.norm`` is left to the caller, who knows what of it stays.

    Args:
        network: Holds the site.
        site: Where.
        norm: The BatchNorm of the site.
        mixing: ``(K, C)``, the indicator; ``K`` is ``C`` unless channels are gone already.
        kept: ``(O,)`` int64, increasing: the channels that stay, at least one.
    """
    conv = conv_at(network, site.conv)
    kernel, bias = merged_kernel(conv, norm, mixing[kept])
    narrow_followers(network, site, kept)
    _set(conv, kernel, bias)
    conv.out_channels = len(kept)


@torch.no_grad()
def narrow_followers(network: nn.Module, site: Site, kept: Tensor) -> None:
    """Leave only the channels ``kept`` in all that comes behind a site's indicator, in place."""
    for path, name, index in follower_tensors(site):
        owner = network.get_submodule(path)
        tensor = getattr(owner, name)
        if tensor is None:
            continue
        narrowed = tensor.detach().index_select(index, kept)
        if isinstance(tensor, nn.Parameter):
            narrowed = nn.Parameter(narrowed, requires_grad=tensor.requires_grad)
        setattr(owner, name, narrowed)
    note_widths(network, site, len(kept))


def follower_tensors(site: Site) -> tuple[tuple[str, str, int], ...]:
    """``(module path, tensor name, axis)`` of everything behind a site that has its channels."""
    tensors = [(site.consumer, "weight", 1)]
    if site.depthwise is not None:
        tensors += [(site.depthwise, "weight", 0), (site.depthwise, "bias", 0)]
    if site.depthwise_norm is not None:
        vectors = ("weight", "bias", "running_mean", "running_var")
        tensors += [(site.depthwise_norm, name, 0) for name in vectors]
    if site.squeeze is not None:
        reduce, expand = site.squeeze
        tensors += [(reduce, "weight", 1), (expand, "weight", 0), (expand, "bias", 0)]
    return tuple(tensors)


def note_widths(network: nn.Module, site: Site, width: int) -> None:
    """Tell the modules behind a site how many channels their tensors now have."""
    conv_at(network, site.consumer).in_channels = width
    if site.depthwise is not None:
        depthwise = conv_at(network, site.depthwise)
        depthwise.in_channels = depthwise.out_channels = depthwise.groups = width
    if site.depthwise_norm is not None:
        norm_at(network, site.depthwise_norm).num_features = width
    if site.squeeze is not None:
        reduce, expand = (conv_at(network, path) for path in site.squeeze)
        reduce.in_channels = expand.out_channels = width


def with_widths(network: nn.Module, widths: Sequence[int]) -> nn.Module:
    """A freshly built network with merged sites of the given widths, ready for trained weights.

    Args:
        network: As the family builds it; changed in place.
        widths: Channels of every site, in order, each from 1 to what the site has.

    Raises:
        ModelError: If the widths do not fit the network.
    """
    sites = require_sites(network, purpose="narrow")
    full = site_widths(network, sites)
    fits = len(widths) == len(full) and all(0 < w <= f for w, f in zip(widths, full, strict=True))
    if not fits:
        raise ModelError(
            f"widths {list(widths)} do not fit the {len(full)} blocks of this architecture, which "
            f"have up to {list(full)} channels"
        )
    for site, width in zip(sites, widths, strict=True):
        norm = norm_at(network, site.norm)
        identity = torch.eye(norm.num_features)
        merge_site(network, site, norm, identity, torch.arange(width))
        replace_at(network, site.norm, activation_of(norm))
    return network


def _set(conv: nn.Conv2d, kernel: Tensor, bias: Tensor) -> None:
    # In the strides of a fresh network: those of a product's 1x1 kernels may be others, and torch
    # chooses its own kernels, and so the last bits of an answer, by them.
    kernel = kernel.clone(memory_format=torch.contiguous_format)
    conv.weight = nn.Parameter(kernel, requires_grad=conv.weight.requires_grad)
    conv.bias = nn.Parameter(bias, requires_grad=conv.weight.requires_grad)
