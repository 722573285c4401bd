"""Operators of an ONNX graph, with shapes from ONNX's own inference at batch size 1."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final

import numpy as np

from edgekd.errors import MissingExtraError
from edgekd.export.audit import INT8_ARITHMETIC, FileFacts, Operator, facts
from edgekd.records import TensorSpec
from edgekd.runtimes.encoding import layout_of
from edgekd.runtimes.precision import OperatorKind

try:
    import onnx
    from onnx import TensorProto

    from edgekd.export.audit.onnx_macs import MULTIPLYING, OPAQUE, Multiplying, Shape, Shapes
    from edgekd.export.audit.onnx_reading import read_onnx, with_shapes
except ModuleNotFoundError as missing:
    raise MissingExtraError("onnx", extra="export", purpose="read ONNX files") from missing

_QUANTIZERS: Final = frozenset({"QuantizeLinear", "DequantizeLinear"})
_ACTIVATIONS: Final = frozenset({"Relu", "Clip"})  # fused into the operator before them
_FLOATS: Final = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE})
_EIGHT_BITS: Final = frozenset({TensorProto.INT8, TensorProto.UINT8})


def audit_onnx(path: Path) -> FileFacts:
    """Read an ONNX file back.

    Raises:
        BundleError: If it is damaged.
    """
    model = read_onnx(path)
    graph = _Graph.read(model, path)
    weights = [item for item in model.graph.initializer if item.name in graph.parameters]
    return facts(
        (graph.operator(node) for node in model.graph.node if not graph.only_converts(node)),
        num_params=sum(prod(item.dims) for item in weights),
        weight_bytes=_bytes_by_type(weights),
        inputs=tuple(_spec(item, "") for item in model.graph.input),
        outputs=tuple(_spec(item, "NK") for item in model.graph.output),
    )


@dataclass(frozen=True, kw_only=True)
class _Graph:
    shapes: Shapes
    types: Mapping[str, int]
    ranks: Mapping[str, int]
    producers: Mapping[str, onnx.NodeProto]
    readers: Mapping[str, list[onnx.NodeProto]]
    parameters: frozenset[str]

    @classmethod
    def read(cls, model: onnx.ModelProto, path: Path) -> "_Graph":
        graph = with_shapes(model, path).graph
        values = [*graph.value_info, *graph.input, *graph.output]
        typed = {v.name: v.type.tensor_type for v in values if v.type.HasField("tensor_type")}
        shapes = {name: _fixed_shape(t.shape) for name, t in typed.items() if t.HasField("shape")}
        stored = {item.name: item for item in graph.initializer}
        producers = {output: node for node in graph.node for output in node.output}
        made = {**producers, **{item.name: None for item in graph.input}}
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        return cls(
            shapes={k: v for k, v in shapes.items() if v is not None}
            | {name: tuple(item.dims) for name, item in stored.items()},
            types={name: t.elem_type for name, t in typed.items()}
            | {name: item.data_type for name, item in stored.items()},
            ranks={k: len(t.shape.dim) for k, t in typed.items() if t.HasField("shape")},
            producers=producers,
            readers=readers,
            parameters=frozenset(
                name for name in stored if _is_parameter(name, stored[name], readers, made)
            ),
        )

    def only_converts(self, node: onnx.NodeProto) -> bool:
        """Whether a node is no operator of the network: it only changes how values are stored."""
        if node.op_type in _QUANTIZERS:
            return True
        stored = node.input and node.input[0] in self.parameters
        widens = node.op_type == "Cast" and stored
        return bool(widens) or self._is_stored(node.output[0])

    def operator(self, node: onnx.NodeProto) -> Operator:
        """One node that is not a quantizer."""
        multiplying = MULTIPLYING.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if multiplying is None:
            opaque = node.op_type in OPAQUE or node.domain not in ("", "ai.onnx")
            return Operator(
                name=node.op_type,
                int8=self._between_quantizers(node),
                macs=None if opaque else 0,
                rank=self._rank(node),
            )
        kind = self._kind(node, multiplying)
        return Operator(
            name=node.op_type,
            int8=kind in INT8_ARITHMETIC,
            kind=kind,
            macs=multiplying.count(node, self.shapes),
            rank=self._rank(node),
        )

    def _rank(self, node: onnx.NodeProto) -> int:
        return max((self.ranks.get(name, 0) for name in node.output), default=0)

    def _kind(self, node: onnx.NodeProto, multiplying: Multiplying) -> OperatorKind:
        if multiplying.native is not None:
            return multiplying.native
        activation, weights = node.input[0], node.input[1]
        if self._is_stored(weights):
            return "int8-weights"
        if self._is_dequantized(weights):
            runs_in_int8 = self._is_dequantized(activation) and (
                not multiplying.writes_int8 or self._is_quantized(node.output[0])
            )
            return "int8" if runs_in_int8 else "int8-weights"
        return "fp16" if self.types.get(weights) == TensorProto.FLOAT16 else "fp32"

    def _between_quantizers(self, node: onnx.NodeProto) -> bool:
        """Whether a node without MACs computes on 8-bit values: in QDQ form, or natively."""
        values = [name for name in node.input if name and name not in self.parameters]
        if all(self.types.get(name) in _EIGHT_BITS for name in node.output):
            return True
        reals = [name for name in values if self.types.get(name) in _FLOATS]
        return (
            bool(reals)
            and all(self._is_dequantized(x) or self._follows_int8(x) for x in reals)
            and all(self._is_quantized(name) for name in node.output if name)
        )

    def _follows_int8(self, name: str) -> bool:
        """Whether an activation reads this from an int8 operator that it is fused with."""
        producer = self.producers.get(name)
        return producer is not None and self.operator(producer).int8

    def _is_dequantized(self, name: str) -> bool:
        producer = self.producers.get(name)
        if producer is not None and producer.op_type in _ACTIVATIONS:
            return self._is_dequantized(producer.input[0])
        return producer is not None and producer.op_type == "DequantizeLinear"

    def _is_stored(self, name: str) -> bool:
        """Whether weights are stored in 8 bits and made float when the file is loaded."""
        scaling = self.producers.get(name)
        if scaling is None or scaling.op_type != "Mul":
            return False
        cast = self.producers.get(scaling.input[0])
        return (
            cast is not None
            and cast.op_type == "Cast"
            and cast.input[0] in self.parameters
            and self.types.get(cast.input[0]) in _EIGHT_BITS
        )

    def _is_quantized(self, name: str) -> bool:
        readers = self.readers.get(name, [])
        if len(readers) == 1 and readers[0].op_type in _ACTIVATIONS:
            return self._is_quantized(readers[0].output[0])
        return bool(readers) and all(node.op_type == "QuantizeLinear" for node in readers)


def _fixed_shape(shape: onnx.TensorShapeProto) -> Shape | None:
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in shape.dim]
    return None if None in sizes else tuple(size for size in sizes if size is not None)


def _is_parameter(
    name: str,
    item: onnx.TensorProto,
    readers: Mapping[str, list[onnx.NodeProto]],
    made: Mapping[str, onnx.NodeProto | None],
) -> bool:
    """Weights and biases, fp32 or stored quantized; not scales, zero points, axes or shapes."""
    for node in readers.get(name, []):
        position = list(node.input).index(name)
        if node.op_type in _QUANTIZERS:
            if position == 0:
                return True
        elif node.op_type == "Cast" or (node.op_type == "MatMulInteger" and position == 1):
            return item.data_type in _EIGHT_BITS
        elif _restores_weights(node, made, scale=name):
            continue
        elif item.data_type in _FLOATS and len(item.dims) > 0:
            return True
    return False


def _restores_weights(
    node: onnx.NodeProto, made: Mapping[str, onnx.NodeProto | None], *, scale: str
) -> bool:
    """Whether a multiplication only puts the scale of stored 8-bit values back in."""
    others = [made.get(name) for name in node.input if name != scale]
    return node.op_type == "Mul" and any(
        other is not None
        and (
            other.op_type == "DynamicQuantizeLinear"
            or (other.op_type == "Cast" and other.input[0] not in made)
        )
        for other in others
    )


def _bytes_by_type(weights: Iterable[onnx.TensorProto]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for item in weights:
        dtype = _dtype(item.data_type)
        found[dtype] += prod(item.dims) * np.dtype(dtype).itemsize
    return found


def _spec(item: onnx.ValueInfoProto, layout: str) -> TensorSpec:
    tensor = item.type.tensor_type
    shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim)
    sizes = [size if isinstance(size, int) else None for size in shape]
    return TensorSpec(
        name=item.name,
        shape=shape,
        dtype=_dtype(tensor.elem_type),
        layout=layout or layout_of(sizes) or "",
    )


def _dtype(element: int) -> str:
    """As NumPy spells it."""
    names = {int(TensorProto.FLOAT): "float32", int(TensorProto.DOUBLE): "float64"}
    return names.get(element) or str(TensorProto.DataType.Name(element)).lower()
