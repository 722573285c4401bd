"""Exact rewrites of an fp32 ONNX graph into the forms that int8 kernels take."""

from typing import Final

import onnx
from onnx import helper, numpy_helper

from edgekd.export.quantization.onnx_graph import integer

_SPATIAL: Final = ([2, 3], [-2, -1])


def rewrite_for_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose means over an image are ``GlobalAveragePool``; it computes the same.

    ONNX Runtime has an int8 kernel for the pooling and none for ``ReduceMean``.

    Args:
        model: With shapes inferred or not; names of all other tensors stay.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    constants = {item.name: item for item in graph.initializer}
    ranks = _ranks(model)
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if node.op_type == "ReduceMean" and _over_image(node, constants, ranks):
            _pool(graph, index, keep=integer(node, "keepdims", 1) == 1)
    name_nodes(result)
    return result


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own: that of its first output, where it has none."""
    taken: set[str] = set()
    for node in model.graph.node:
        if not node.name or node.name in taken:
            node.name = node.output[0]
        taken.add(node.name)


def _pool(graph: onnx.GraphProto, index: int, *, keep: bool) -> None:
    node = graph.node[index]
    source, target = node.input[0], node.output[0]
    pooled = target if keep else f"{target}/pooled"
    nodes = [helper.make_node("GlobalAveragePool", [source], [pooled], name=node.name or pooled)]
    if not keep:
        nodes.append(helper.make_node("Flatten", [pooled], [target], name=f"{target}/flat", axis=1))
    graph.node.remove(node)
    for offset, new in enumerate(nodes):
        graph.node.insert(index + offset, new)


def _over_image(
    node: onnx.NodeProto, constants: dict[str, onnx.TensorProto], ranks: dict[str, int]
) -> bool:
    axes = [list(a.ints) for a in node.attribute if a.name == "axes"]
    if len(node.input) > 1 and node.input[1] in constants:
        axes = [numpy_helper.to_array(constants[node.input[1]]).ravel().tolist()]
    return bool(axes) and sorted(axes[0]) in _SPATIAL and ranks.get(node.input[0]) == 4


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model)
    values = [*inferred.graph.value_info, *inferred.graph.input]
    return {v.name: len(v.type.tensor_type.shape.dim) for v in values}
