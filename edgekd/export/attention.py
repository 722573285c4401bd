"""Self-attention in the form that both runtimes have kernels for: no tensor of five axes.

timm computes query, key and value with one linear layer and takes them apart with a tensor of five
axes, which a converter turns into transposes and slices; and the fused attention that follows is
taken apart by each converter in a way of its own. Here three linear layers make the three tensors,
and products and a softmax of at most four axes do the rest. The function is the same.
"""

from typing import Any

import torch
from torch import Tensor, nn


class PlainAttention(nn.Module):
    """A timm ``Attention`` in eval mode, taken apart.

    The scale of the scores is in the weights of the query, unless a norm stands between them.

    Args:
        attention: ``timm.models.vision_transformer.Attention``; its weights are shared or copied.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.num_heads, self.head_dim = int(attention.num_heads), int(attention.head_dim)
        self.query, self.key, self.value = _thirds(attention.qkv)
        self.q_norm, self.k_norm = attention.q_norm, attention.k_norm
        self.scale: float | None = float(attention.scale)
        if isinstance(self.q_norm, nn.Identity):
            _multiply(self.query, self.scale)
            self.scale = None
        self.gate: nn.Module | None = getattr(attention, "gate", None)
        self.norm: nn.Module | None = getattr(attention, "norm", None)  # newer versions have them
        self.proj = attention.proj

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """``(B, N, C)`` tokens to ``(B, N, C)``.

        Args:
            x: The tokens.
            attn_mask: Added to the scores, or where ``True`` leaves them; broadcast to
                ``(B, H, N, N)``.
            is_causal: Whether a token only looks at those before it.
        """
        query, key = self.q_norm(self._by_head(self.query(x))), self._by_head(self.key(x))
        if self.scale is not None:
            query = query * self.scale
        key, value = self.k_norm(key), self._by_head(self.value(x))
        if attn_mask is not None or is_causal:
            answer = nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=attn_mask, is_causal=is_causal, scale=1.0
            )
        else:
            scores = (query @ key.transpose(-2, -1)).softmax(dim=-1)
            answer = scores @ value
        answer = answer.transpose(1, 2).flatten(2)
        if self.norm is not None:
            answer = self.norm(answer)
        if self.gate is not None:
            answer = answer * self.gate(x).sigmoid()
        projected: Tensor = self.proj(answer)
        return projected

    def _by_head(self, x: Tensor) -> Tensor:
        """``(B, N, H * D)`` to ``(B, H, N, D)``."""
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)


def take_attention_apart(network: nn.Module) -> int:
    """Replace every plain timm attention of a network.

    Args:
        network: In eval mode; changed in place.

    Returns:
        How many were replaced.
    """
    if not any(isinstance(getattr(m, "qkv", None), nn.Linear) for m in network.modules()):
        return 0
    # timm takes seconds to import; older versions have the class here, newer ones import it
    from timm.models.vision_transformer import Attention  # type: ignore[attr-defined]

    every = list(network.named_modules(remove_duplicate=False))  # one may stand in two places
    found = {id(module): module for _, module in every if type(module) is Attention}
    made = {key: PlainAttention(attention).eval() for key, attention in found.items()}
    for name, module in every:
        if id(module) in made:
            network.set_submodule(name, made[id(module)])
    return len(made)


def _thirds(qkv: nn.Linear) -> list[nn.Linear]:
    """Three linear layers that make what one made, one third of its outputs each."""
    weights, size = qkv.weight.detach().chunk(3), qkv.out_features // 3
    biases = (None,) * 3 if qkv.bias is None else qkv.bias.detach().chunk(3)
    layers = []
    for weight, bias in zip(weights, biases, strict=True):
        layer = nn.Linear(qkv.in_features, size, bias=bias is not None)
        layer.weight = nn.Parameter(weight.clone(), requires_grad=False)
        if bias is not None:
            layer.bias = nn.Parameter(bias.clone(), requires_grad=False)
        layers.append(layer)
    return layers


@torch.no_grad()
def _multiply(layer: nn.Linear, factor: float) -> None:
    layer.weight.mul_(factor)
    if layer.bias is not None:
        layer.bias.mul_(factor)
