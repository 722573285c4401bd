"""What single operators of torch cost, in multiply-accumulates.

An operator has a formula, or costs nothing, by the kind torch gives it or by name; what is
neither is for the caller to report.
"""

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, Final

import torch
from torch import Tensor
from torch._ops import OpOverload

Formula = Callable[..., int]


def is_without_macs(operator: OpOverload, name: str) -> bool:
    """Whether an operator moves, compares or combines values without products to count.

    Args:
        operator: As torch dispatches it.
        name: Of its schema, for example ``aten::cat``.
    """
    if operator.is_view or not _KINDS_WITHOUT_MACS.isdisjoint(operator.tags):
        return True
    return name.removeprefix("aten::").rstrip("_") in _WITHOUT_MACS


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> int:
    # The whole kernel (out, in / groups, ...) is applied once per output position, or, when
    # transposed, once per input position; padding counts as input, as a dense kernel computes it.
    return (
        x.shape[0]
        * prod(weight.shape)
        * prod(x.shape[2:] if transposed else _conv_positions(x, weight, stride, padding, dilation))
    )


def _conv_positions(
    x: Tensor, weight: Tensor, stride: list[int], padding: list[int], dilation: list[int]
) -> Iterator[int]:
    num_axes = x.dim() - 2
    for axis in range(num_axes):
        # torch lets one value stand for every axis
        s, p, d = (v[axis] if len(v) == num_axes else v[0] for v in (stride, padding, dilation))
        kernel = d * (weight.shape[axis + 2] - 1) + 1
        yield (x.shape[axis + 2] + 2 * p - kernel) // s + 1


def _product(left: Tensor, right: Tensor, **_: Any) -> int:
    """``(..., m, k) @ (..., k, n)``: every element of ``left`` meets ``n`` columns."""
    return left.numel() * right.shape[-1]


def _added_product(_added: Tensor, left: Tensor, right: Tensor, **_: Any) -> int:
    return _product(left, right)


def _vector_product(matrix: Tensor, _vector: Tensor, **_: Any) -> int:
    return matrix.numel()


def _added_vector_product(_added: Tensor, matrix: Tensor, _vector: Tensor, **_: Any) -> int:
    return matrix.numel()


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """``(B, heads, T, D)``: ``query @ key^T``, then weights times ``value``; masks save none."""
    batch, heads, num_queries, width = query.shape
    return batch * heads * num_queries * key.shape[-2] * (width + value.shape[-1])


def _recurrence(x: Tensor, input_weight: Tensor, hidden_weight: Tensor, *_: Any, **__: Any) -> int:
    """``(T, B, C)``: at every step both weights meet one vector per sample."""
    return x.shape[0] * x.shape[1] * (input_weight.numel() + hidden_weight.numel())


FORMULAS: Final[Mapping[str, Formula]] = {
    "aten::convolution": _convolution,
    "aten::mm": _product,
    "aten::bmm": _product,
    "aten::addmm": _added_product,
    "aten::baddbmm": _added_product,
    "aten::addbmm": _added_product,
    "aten::mkldnn_rnn_layer": _recurrence,
    "aten::mv": _vector_product,
    "aten::dot": _vector_product,
    "aten::addmv": _added_vector_product,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
    "aten::_scaled_dot_product_flash_attention": _attention,
    "aten::_scaled_dot_product_efficient_attention": _attention,
    "aten::_scaled_dot_product_cudnn_attention": _attention,
    "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
}
"""Operator -> its MACs, from the operator's own arguments."""

_KINDS_WITHOUT_MACS: Final = {
    torch.Tag.pointwise,
    torch.Tag.reduction,
    torch.Tag.inplace_view,
}

_POOLING: Final = {
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool2d",
    "avg_pool3d",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
}

_NORMALISATION: Final = {
    "_fused_rms_norm",
    "_log_softmax",
    "_native_batch_norm_legit_no_training",
    "_safe_softmax",
    "_softmax",
    "cudnn_batch_norm",
    "native_batch_norm",
    "native_group_norm",
    "native_layer_norm",
}

_ELEMENTWISE: Final = {  # by nature, although torch does not tag them
    "_prelu_kernel",
    "bernoulli",
    "cumsum",
    "glu",
    "hardswish",
    "native_dropout",
}

_MOVEMENT: Final = {
    "_assert_async",
    "_fused_sdp_choice",  # answers which attention kernel to run
    "_local_scalar_dense",
    "_reshape_alias",
    "_to_copy",
    "_unsafe_index",
    "_unsafe_view",
    "arange",
    "cat",
    "col2im",
    "constant_pad_nd",
    "copy",
    "embedding",
    "empty",
    "empty_like",
    "empty_strided",
    "eye",
    "flip",
    "full",
    "full_like",
    "gather",
    "im2col",
    "index",
    "index_select",
    "lift_fresh",
    "linspace",
    "masked_fill",
    "new_empty",
    "new_full",
    "new_ones",
    "new_zeros",
    "ones",
    "ones_like",
    "pixel_shuffle",
    "pixel_unshuffle",
    "prim::device",  # asked of a tensor without values
    "reflection_pad1d",
    "reflection_pad2d",
    "repeat",
    "replication_pad2d",
    "roll",
    "scalar_tensor",
    "scatter",
    "sort",
    "stack",
    "topk",
    "tril",
    "triu",
    "unsafe_chunk",
    "unsafe_split",
    "zeros",
    "zeros_like",
    "_upsample_bilinear2d_aa",
    "upsample_bicubic2d",
    "upsample_bilinear2d",
    "upsample_nearest2d",
}

_WITHOUT_MACS: Final = _POOLING | _NORMALISATION | _ELEMENTWISE | _MOVEMENT
