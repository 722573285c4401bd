"""Projections that a program packs into one linear layer, taken apart.

Query, key and value of an attention often come from one layer, and are taken out of a tensor of
five axes. Here each has a layer of its own, as in :mod:`edgekd.export.attention`, found in the
graph by what is computed and not by what a module is called.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

_ATEN: Final = torch.ops.aten
_LINEAR: Final = _ATEN.linear.default
_RESHAPES: Final = (_ATEN.reshape.default, _ATEN.view.default)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Packed:
    """``linear``, a reshape, a permutation, and an ``unbind`` of the axis that counts layers."""

    linear: fx.Node
    shape: list[Any]
    axes: list[int]
    axis: int
    """Of the reshape: the one that is taken apart."""
    count: int
    parts: Sequence[fx.Node]

    @property
    def part_shape(self) -> list[Any]:
        """Of one layer's answer."""
        return [size for axis, size in enumerate(self.shape) if axis != self.axis]

    @property
    def part_axes(self) -> list[int]:
        """Of one layer's answer, as it is permuted."""
        return [axis - (axis > self.axis) for axis in self.axes if axis != self.axis]


def split_packed_projections(module: fx.GraphModule) -> int:
    """Give every packed projection a layer of its own.

    Args:
        module: The plain graph of a program; changed in place, dead nodes stay.

    Returns:
        How many layers were taken apart.
    """
    found = [packed for node in list(module.graph.nodes) if (packed := _packed(node)) is not None]
    for packed in found:
        _split(module, packed)
    return len(found)


def _packed(unbind: fx.Node) -> _Packed | None:
    if unbind.target is not _ATEN.unbind.int:
        return None
    permute = _only_source(unbind, (_ATEN.permute.default,))
    reshape = None if permute is None else _only_source(permute, _RESHAPES)
    linear = None if reshape is None else _only_source(reshape, (_LINEAR,))
    if permute is None or reshape is None or linear is None:
        return None
    parameters = all(x is None or _is_parameter(x) for x in linear.args[1:])
    if linear.kwargs or not parameters:
        return None
    if not all(user.target is operator.getitem for user in unbind.users):
        return None
    inner, outer = len(_sizes(linear)) - 1, _sizes(reshape)
    order: Any = permute.args[1]
    unbound: Any = unbind.args[1] if len(unbind.args) > 1 else 0
    axes = [int(axis) % len(outer) for axis in order]
    axis = axes[int(unbound)]
    features = outer[inner:]
    if axis != inner or not all(isinstance(size, int) for size in features):
        return None
    if _sizes(linear)[-1] != prod(features):
        return None
    return _Packed(
        linear=linear,
        shape=list(reshape.args[1]),  # type: ignore[arg-type]
        axes=axes,
        axis=axis,
        count=features[0],
        parts=tuple(unbind.users),
    )


def _only_source(node: fx.Node, targets: Sequence[Any]) -> fx.Node | None:
    """What a node reads first, if nobody else reads it and it is one of these operators."""
    source = node.args[0]
    fits = isinstance(source, fx.Node) and source.target in targets and len(source.users) == 1
    return source if fits else None  # type: ignore[return-value]


def _is_parameter(value: Any) -> bool:
    return isinstance(value, fx.Node) and value.op == "get_attr"


def _sizes(node: fx.Node) -> list[Any]:
    value = node.meta.get("val")
    return list(value.shape) if isinstance(value, Tensor) else []


def _split(module: fx.GraphModule, packed: _Packed) -> None:
    source, weight, *bias = packed.linear.args
    layers = zip(*(_chunks(module, x, packed.count) for x in (weight, *bias)), strict=True)
    made = []
    for number, tensors in enumerate(layers):
        names = [f"{packed.linear.name}_{number}_{kind}" for kind in ("weight", "bias")]
        with module.graph.inserting_before(packed.linear):
            read = []
            for name, values in zip(names, tensors, strict=False):
                if values is not None:
                    module.register_parameter(name, nn.Parameter(values, requires_grad=False))
                    read.append(module.graph.get_attr(name))
            linear = module.graph.call_function(_LINEAR, (source, *read))
            reshape = module.graph.call_function(_RESHAPES[0], (linear, packed.part_shape))
            made.append(
                module.graph.call_function(_ATEN.permute.default, (reshape, packed.part_axes))
            )
    for part in packed.parts:
        part.replace_all_uses_with(made[int(part.args[1])])  # type: ignore[arg-type]


def _chunks(module: fx.GraphModule, node: Any, count: int) -> Sequence[Tensor | None]:
    """A parameter in as many pieces along its first axis; ``None`` where there is none."""
    if node is None:
        return (None,) * count
    tensor: Tensor = operator.attrgetter(str(node.target))(module)
    return tuple(piece.clone() for piece in tensor.detach().chunk(count))
