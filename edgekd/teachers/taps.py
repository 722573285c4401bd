"""Reading a torch teacher's features and attention while it computes its logits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Answer = tuple[Tensor, tuple[Tensor, ...]]


def feature_reader(module: nn.Module) -> Callable[[Tensor], Answer] | None:
    """A function from input to ``(logits, features)``, or ``None`` if the module has no stages.

    timm architectures are asked through their own interface for intermediate maps; a module with
    ``stages`` is read by hooks. Features are ``(B, C, H, W)``, one per stage or block.
    """
    intermediates = getattr(module, "forward_intermediates", None)
    head = getattr(module, "forward_head", None)
    if callable(intermediates) and callable(head):

        def ask(x: Tensor) -> Answer:
            final, maps = intermediates(x)
            return head(final), tuple(maps)

        return ask
    stages = getattr(module, "stages", None)
    if isinstance(stages, nn.ModuleList):

        def read(x: Tensor) -> Answer:
            with _outputs_of(list(stages)) as maps:
                logits: Tensor = module(x)
            return logits, tuple(maps)

        return read
    return None


def attention_layers(module: nn.Module) -> list[nn.Module]:
    """The dropouts that softmaxed attention weights pass through, in forward order.

    timm's attention layers are told to compute their weights openly instead of in one fused
    kernel, which does not change the result.
    """
    layers = []
    for part in module.modules():
        dropout = getattr(part, "attn_drop", None)
        if isinstance(dropout, nn.Module) and hasattr(part, "fused_attn"):
            part.fused_attn = False  # type: ignore[assignment]  # a plain flag of timm's
            layers.append(dropout)
    return layers


@contextmanager
def reading_attention(layers: list[nn.Module]) -> Iterator[list[Tensor]]:
    """Collect ``(B, heads, N, N)`` weights of every layer that runs inside the block."""
    with _outputs_of(layers) as weights:
        yield weights


def is_self_attention(weights: list[Tensor], batch_size: int) -> bool:
    """Whether every map is ``(B, heads, N, N)`` over whole images, not windows or channels."""
    return bool(weights) and all(
        w.dim() == 4
        and w.shape[0] == batch_size
        and w.shape[2] == w.shape[3]
        and torch.allclose(w.sum(-1), torch.ones((), dtype=w.dtype), atol=1e-3)
        for w in weights
    )


@contextmanager
def _outputs_of(parts: list[nn.Module]) -> Iterator[list[Tensor]]:
    outputs: list[Tensor] = []
    hooks = [part.register_forward_hook(lambda _m, _i, out: outputs.append(out)) for part in parts]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
