"""Parameters and multiply-accumulates of a network, counted while one sample runs through it.

One MAC is one multiplication with its addition, so a FLOP count is twice as large. Counted are
convolutions, matrix products and fused attention. Elementwise operators, reductions, views,
pooling and normalisation count as zero: they are known by the kind torch gives them or by name in
``_WITHOUT_MACS``. Every other operator is reported, never dropped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

Formula = Callable[..., int]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one sample costs.

    Attributes:
        num_params: Elements of all parameters, shared ones once; buffers are not parameters.
        macs: Multiply-accumulates of one forward pass at batch size 1.
        uncounted_operators: Sorted names of operators without a formula; empty when ``macs`` is
            exact.
    """

    num_params: int
    macs: int
    uncounted_operators: tuple[str, ...]


def count_cost(module: nn.Module, input_shapes: Sequence[tuple[int, ...]]) -> Cost:
    """Count a module by running it once, in eval mode and without gradients, on zeros.

    The real kernels run, so control flow that depends on data is no obstacle. The module's
    training flags are restored, also when the pass fails.

    >>> count_cost(nn.Conv2d(16, 32, 3, padding=1, bias=False), [(16, 8, 8)])
    Cost(num_params=4608, macs=294912, uncounted_operators=())

    Args:
        module: Called with one tensor per entry of ``input_shapes``.
        input_shapes: Shapes without the batch axis, for example ``[(3, 32, 32)]``.
    """
    like = next(module.parameters(), torch.empty(0))
    inputs = [like.new_zeros(1, *shape) for shape in input_shapes]
    counter = _MacCounter()
    with _evaluating(module), torch.no_grad(), _composite_attention(), counter:
        module(*inputs)
    return Cost(
        num_params=sum(p.numel() for p in module.parameters()),
        macs=counter.macs,
        uncounted_operators=tuple(sorted(counter.uncounted)),
    )


class _MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's hook
    """Adds up the formulas of the operators that run while it is active."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0
        self.uncounted: set[str] = set()

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        keywords = dict(kwargs or {})
        name = func._schema.name
        formula = _FORMULAS.get(name)
        if formula is not None:
            self.macs += formula(*args, **keywords)
        elif not _is_without_macs(func, name):
            with self:  # a composite operator is counted by what it is made of
                result = func.decompose(*args, **keywords)
            if result is not NotImplemented:
                return result
            self.uncounted.add(name)
        return func(*args, **keywords)


def _is_without_macs(func: OpOverload, name: str) -> bool:
    if func.is_view or not _KINDS_WITHOUT_MACS.isdisjoint(func.tags):
        return True
    return name.removeprefix("aten::").rstrip("_") in _WITHOUT_MACS


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:  # the flag itself: train() may be overridden and is recursive
            part.training = True


@contextmanager
def _composite_attention() -> Iterator[None]:
    """Keep ``nn.MultiheadAttention`` and encoder layers off their one-operator inference path."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


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


_FORMULAS: Final[Mapping[str, Formula]] = {
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
