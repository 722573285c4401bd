"""A torch.export program's graph as a plain module that can be exported again.

What torch returns checks its inputs' sizes, refuses ``eval()`` and keeps BatchNorms as calls. Here
it becomes an ordinary module of the same operators, with each BatchNorm folded into the layer
before it and packed projections taken apart, as :mod:`edgekd.export.prepare` does with modules.
"""

import operator
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from edgekd.errors import ModelError
from edgekd.export.program_attention import split_packed_projections

_ATEN: Final = torch.ops.aten
_LINEAR: Final = _ATEN.linear.default
_LAYERS: Final = (
    _LINEAR,
    _ATEN.conv1d.default,
    _ATEN.conv2d.default,
    _ATEN.conv2d.padding,
    _ATEN.conv1d.padding,
)
_CHECKS: Final = ("_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range")
_TRAINING: Final = ("train", "training")


def plain_module(program: nn.Module, path: Path) -> fx.GraphModule:
    """The network of a loaded program, in eval mode, with folded norms.

    Args:
        program: What ``ExportedProgram.module()`` returned.
        path: Of its file, for the message.

    Returns:
        One tensor to a tuple of what the program answers.

    Raises:
        ModelError: If the program was exported in training mode.
    """
    graph: fx.Graph = program.graph  # type: ignore[assignment]
    graph.set_codegen(fx.graph.CodeGen())  # inputs and outputs as a flat list, whatever they were
    module = fx.GraphModule(program, graph)
    _refuse_training(module, path)
    _drop_checks(module.graph)
    for node in list(module.graph.nodes):
        if node.target is _ATEN.batch_norm.default:
            _fold(module, node)
    split_packed_projections(module)
    module.graph.eliminate_dead_code()
    return fx.GraphModule(module, module.graph).requires_grad_(False).eval()  # without unused ones


def _refuse_training(module: fx.GraphModule, path: Path) -> None:
    for node in module.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload):
            continue
        given = _arguments(node)
        active = any(given.get(name) is True for name in _TRAINING) and given.get("p") != 0
        if active or given.get("dropout_p", 0) != 0:
            raise ModelError(
                f"{path}: was exported in training mode ({node.target} trains); call model.eval() "
                "before torch.export.export, and save it again"
            )


def _drop_checks(graph: fx.Graph) -> None:
    """Without what only checks sizes: other sizes may be fine, and converters do not know it."""
    for node in list(graph.nodes):
        name = getattr(node.target, "_opname", "")
        if name.startswith(_CHECKS) and not node.users:
            graph.erase_node(node)


def _fold(module: fx.GraphModule, norm: fx.Node) -> None:
    """Fold one BatchNorm, if it alone reads the output of a layer whose weights are its own."""
    given = _arguments(norm)
    layer = given["input"]
    if layer.target not in _LAYERS or len(layer.users) != 1:
        return
    own = _arguments(layer)
    if not _is_own(own["weight"]) or not (own.get("bias") is None or _is_own(own["bias"])):
        return
    weight, bias = _tensor(module, own["weight"]), _tensor(module, own.get("bias"))
    mean, variance = (_tensor(module, given[key]) for key in ("running_mean", "running_var"))
    gamma, beta = (_tensor(module, given[key]) for key in ("weight", "bias"))
    if weight is None or mean is None or variance is None:
        return  # normalises each batch by itself
    # in double: folding then costs no more than one rounding per weight
    statistics = (mean.double(), variance.double(), given["eps"])
    affine = (
        torch.ones_like(mean).double() if gamma is None else gamma.double(),
        torch.zeros_like(mean).double() if beta is None else beta.double(),
    )
    start = torch.zeros_like(mean).double() if bias is None else bias.double()
    fuse = fuse_linear_bn_weights if layer.target is _LINEAR else fuse_conv_bn_weights
    folded = fuse(weight.double(), start, *statistics, *affine)
    names = [f"folded_{norm.name}_{key}" for key in ("weight", "bias")]
    for name, values in zip(names, folded, strict=True):
        module.register_parameter(name, nn.Parameter(values.to(weight.dtype), requires_grad=False))
    with module.graph.inserting_before(layer):
        new = [module.graph.get_attr(name) for name in names]
    layer.args = (layer.args[0], *new, *layer.args[3:])
    layer.kwargs = {k: v for k, v in layer.kwargs.items() if k not in ("weight", "bias")}
    norm.replace_all_uses_with(layer)
    module.graph.erase_node(norm)


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments by name, as far as they are given."""
    names = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    return {**dict(zip(names, node.args, strict=False)), **node.kwargs}


def _is_own(node: Any) -> bool:
    return isinstance(node, fx.Node) and node.op == "get_attr" and len(node.users) == 1


def _tensor(module: fx.GraphModule, node: Any) -> Tensor | None:
    """The tensor that a ``get_attr`` node reads; ``None`` where there is no such node."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    tensor: Tensor = operator.attrgetter(str(node.target))(module)
    return tensor.detach()
