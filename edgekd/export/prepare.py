"""A trained module made ready for conversion: fewer operators, the same function.

Multi-branch blocks are merged and BatchNorm is folded into the layer before it, here and not in
the converters, so that both formats and both precisions come from one and the same float model.
"""

import copy
from collections.abc import Sequence
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from torch.overrides import TorchFunctionMode

from edgekd.export.attention import take_attention_apart
from edgekd.records import ImageInput, InputSpec

Encoding = Literal["float32", "uint8"]

_MERGING: Final = ("fuse", "reparameterize", "switch_to_deploy")
"""Methods by which a multi-branch block becomes one layer, as timm and others name them."""
_CONVOLUTIONS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED: Final = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def prepare_for_export(student: nn.Module, inputs: Sequence[InputSpec]) -> nn.Module:
    """A copy in eval mode that computes the same with simpler operators; ``student`` is untouched.

    Branches are merged, BatchNorm is folded, attention has no tensor of five axes.

    Args:
        student: Normalised ``(B, C, H, W)`` (or ``(B, C, T)``) per input to ``(B, K)`` logits.
        inputs: What it takes, for one pass that finds which layer feeds which BatchNorm.
    """
    network = copy.deepcopy(student).eval().requires_grad_(False)
    merged = _merge_branches(network)
    fold_batch_norms(merged, [torch.zeros(1, *input_shape(spec)) for spec in inputs])
    take_attention_apart(merged)
    return merged


def _merge_branches(network: nn.Module) -> nn.Module:
    if not any(hasattr(m, name) for m in network.modules() for name in _MERGING):
        return network
    from timm.utils.model import reparameterize_model  # timm takes seconds to import

    merged: nn.Module = reparameterize_model(network, inplace=True)
    return merged


def input_shape(spec: InputSpec) -> tuple[int, ...]:
    """``(C, H, W)`` or ``(C, T)``: what the student takes, without the batch axis."""
    if isinstance(spec, ImageInput):
        return spec.channels, spec.height, spec.width
    return spec.channels, spec.length


def sample_input(spec: InputSpec, encoding: Encoding, *, channel_last: bool) -> Tensor:
    """A zero batch of one as the exported file takes it: its shape, layout and type."""
    sample = torch.zeros(1, *input_shape(spec))
    if not isinstance(spec, ImageInput):
        return sample
    if channel_last:
        sample = sample.permute(0, 2, 3, 1).contiguous()
    return sample.to(torch.uint8) if encoding == "uint8" else sample


class Deployed(nn.Module):
    """The network as the exported file offers it: the file's encoding and layout on the outside.

    Args:
        network: What :func:`prepare_for_export` returned.
        inputs: One per positional input of ``network``.
        encoding: ``uint8`` puts ``(pixel / 255 - mean) / std`` inside; images only.
        channel_last: Images arrive as ``(B, H, W, C)``.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Sequence[InputSpec],
        *,
        encoding: Encoding,
        channel_last: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self.encodings = nn.ModuleList(
            InputNormalisation(spec) if encoding == "uint8" and isinstance(spec, ImageInput)
            else nn.Identity()
            for spec in inputs
        )  # fmt: skip
        self._images_last = [channel_last and isinstance(spec, ImageInput) for spec in inputs]

    def forward(self, *inputs: Tensor) -> Tensor:
        """One tensor per input, in the file's encoding and layout, to ``(B, K)`` logits."""
        normalised = [
            encode(x.permute(0, 3, 1, 2) if last else x)
            for x, encode, last in zip(inputs, self.encodings, self._images_last, strict=True)
        ]
        logits: Tensor = self.network(*normalised)
        return logits


class InputNormalisation(nn.Module):
    """Raw pixels to the network's input as one multiplication and one addition per channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, spec: ImageInput) -> None:
        super().__init__()
        mean, std = torch.tensor(spec.mean).double(), torch.tensor(spec.std).double()
        scale, shift = 1 / (255 * std), -mean / std
        self.register_buffer("scale", scale.float().view(-1, 1, 1))
        self.register_buffer("shift", shift.float().view(-1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 ``(B, C, H, W)`` to float32 of the same shape."""
        return pixels.to(torch.float32) * self.scale + self.shift


def fold_batch_norms(network: nn.Module, inputs: Sequence[Tensor]) -> int:
    """Fold every BatchNorm that alone reads a convolution's or linear layer's output.

    Which layer feeds which norm is read from one run, not from the order of modules, so a layer
    that is shared, or whose output is also used elsewhere, keeps its norm.

    Args:
        network: In eval mode; changed in place.
        inputs: One batch per input.

    Returns:
        How many were folded.
    """
    watcher = _Watcher(network)
    with torch.no_grad(), watcher:
        network(*inputs)
    pairs = watcher.pairs()
    for layer, norm in pairs:
        _fold(layer, norm)
        _replace(network, norm, _what_follows(norm))
    return len(pairs)


class _Watcher(TorchFunctionMode):
    """Records which layer made each tensor and how often each tensor and layer was used."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        modules = list(network.modules())
        self._layers = {
            id(m.weight): m
            for m in modules
            if isinstance(m, (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear))
        }
        self._norms = {id(m.running_mean): m for m in modules if isinstance(m, _BATCH_NORMS)}
        self._made_by: dict[int, nn.Module] = {}
        self._links: list[tuple[int, nn.Module]] = []
        self._uses: dict[int, int] = {}
        self._alive: list[Any] = []  # ids stay unique only while their owners live

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        tensors = [x for x in _flatten((*args, *kwargs.values())) if isinstance(x, Tensor)]
        self._alive.append((tensors, result))
        if result is not None and not any(isinstance(x, Tensor) for x in _flatten([result])):
            return result  # reading a shape or a dtype is not a use of the values
        for tensor in tensors:
            self._uses[id(tensor)] = self._uses.get(id(tensor), 0) + 1
            if id(tensor) in self._layers:
                self._made_by[id(result)] = self._layers[id(tensor)]
            if id(tensor) in self._norms and func is nn.functional.batch_norm:
                self._links.append((id(tensors[0]), self._norms[id(tensor)]))
        return result

    def pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """``(layer, norm)`` of every pair that can be folded exactly."""
        found = []
        for source, norm in self._links:
            layer = self._made_by.get(source)
            if (
                layer is not None
                and self._uses[source] == 1
                and self._uses[id(layer.weight)] == 1
                and self._uses[id(norm.running_mean)] == 1
                and _what_follows(norm) is not None
            ):
                found.append((layer, norm))
        return found


def _flatten(values: Any) -> list[Any]:
    if isinstance(values, list | tuple):
        return [item for value in values for item in _flatten(value)]
    return [values]


def _what_follows(norm: nn.Module) -> nn.Module | None:
    """What a norm does after normalising, or ``None`` where that is not known."""
    if type(norm) in _BATCH_NORMS:
        return nn.Identity()
    from timm.layers.norm_act import BatchNormAct2d

    if type(norm) is BatchNormAct2d:
        return nn.Sequential(norm.drop, norm.act)
    return None


def _fold(layer: Any, norm: Any) -> None:
    # in double: folding then costs no more than one rounding per weight
    weight, mean, variance = (x.double() for x in (layer.weight, *_statistics(norm)))
    bias = torch.zeros_like(mean) if layer.bias is None else layer.bias.double()
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.double()
    if isinstance(layer, nn.Linear):
        fused = fuse_linear_bn_weights(weight, bias, mean, variance, norm.eps, gamma, beta)
    else:
        transposed = isinstance(layer, _TRANSPOSED)
        fused = fuse_conv_bn_weights(
            weight, bias, mean, variance, norm.eps, gamma, beta, transposed
        )
    layer.weight, layer.bias = (
        nn.Parameter(x.detach().to(layer.weight.dtype), requires_grad=False) for x in fused
    )


def _statistics(norm: Any) -> tuple[Tensor, Tensor]:
    return norm.running_mean, norm.running_var


def _replace(network: nn.Module, old: nn.Module, new: nn.Module | None) -> None:
    if new is None:
        raise ValueError("a norm with unknown behaviour cannot be replaced")
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if child is old:
                setattr(module, name, new)
