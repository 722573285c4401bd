"""TFLite files with LiteRT on the CPU, its XNNPACK kernels included.

``Interpreter`` rather than ``CompiledModel``: both run the same XNNPACK kernels (68 against
88 microseconds on a small convolutional net), and only the former tells scales and zero points.
"""

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgekd.errors import BundleError
from edgekd.runtimes.encoding import (
    InputEncoding,
    TensorInfo,
    decode_output,
    encode_samples,
    layout_of,
)
from edgekd.runtimes.precision import OperatorKind, file_precision
from edgekd.runtimes.session import reporting_runtime_errors

_NAME: Final = "litert"
_OPERANDS: Final[Mapping[str, tuple[int, int]]] = {
    # multiplying operator -> positions of its activation and its weights among the inputs
    "CONV_2D": (0, 1),
    "CONV_3D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "FULLY_CONNECTED": (0, 1),
    "BATCH_MATMUL": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
}
_INTEGERS: Final = ("int8", "uint8", "int16")


def version() -> str:
    """LiteRT's version."""
    return metadata.version("ai-edge-litert")


def open_session(
    path: Path, *, num_threads: int, encodings: Sequence[InputEncoding] = ()
) -> "LiteRtSession":
    """Load a TFLite file; ``num_threads`` compute one operator.

    Raises:
        BundleError: If LiteRT cannot load it.
    """
    with reporting_runtime_errors(path, _NAME, "load"):
        interpreter = Interpreter(model_path=str(path), num_threads=num_threads)
        interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    return LiteRtSession(path, interpreter, inputs, outputs, encodings)


class LiteRtSession:
    """A loaded TFLite file."""

    def __init__(
        self,
        path: Path,
        interpreter: Any,
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]],
        encodings: Sequence[InputEncoding],
    ) -> None:
        self._path = path
        self._interpreter = interpreter
        self.inputs = tuple(_info(details, path) for details in inputs)
        self.outputs = tuple(_info(details, path) for details in outputs)
        self._indices = [
            (info.name, d["index"]) for info, d in zip(self.inputs, inputs, strict=True)
        ]
        self._output_indices = [details["index"] for details in outputs]
        self._encodings = tuple(encodings)

    def encode(self, samples: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Decoded samples as the file's inputs."""
        return encode_samples(self.inputs, self._encodings, samples, source=self._path.name)

    def invoke(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """One inference, with the copies in and out that any caller of LiteRT pays."""
        interpreter = self._interpreter
        for name, index in self._indices:
            interpreter.set_tensor(index, feeds[name])
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._output_indices]

    def decode(self, outputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """The first output as float32 logits ``(n, K)``."""
        return decode_output(outputs[0], self.outputs[0])

    def precision(self) -> str:
        """Read from the operators' operand types.

        Raises:
            BundleError: If LiteRT cannot describe them, as with a damaged tensor name.
        """
        # The only way to the operators without a second flatbuffer reader over a hostile file;
        # the leading underscore marks it as experimental in LiteRT.
        with reporting_runtime_errors(self._path, _NAME, "read"):
            operators = self._interpreter._get_ops_details()
            types = {d["index"]: d["dtype"] for d in self._interpreter.get_tensor_details()}
        return file_precision(_operator_kinds(operators, types))


def _operator_kinds(
    operators: Sequence[Mapping[str, Any]], types: Mapping[int, Any]
) -> list[OperatorKind]:
    names = {index: np.dtype(dtype).name for index, dtype in types.items()}
    stored = {
        operator["outputs"][0]: names[operator["inputs"][0]]
        for operator in operators
        if operator["op_name"] == "DEQUANTIZE"
    }
    kinds: list[OperatorKind] = []
    for operator in operators:
        positions = _OPERANDS.get(operator["op_name"])
        if positions is None:
            continue
        activation, weights = (operator["inputs"][position] for position in positions)
        kinds.append(_kind(names[activation], names[weights], stored.get(weights)))
    return kinds


def _kind(activation: str, weights: str, stored: str | None) -> OperatorKind:
    if activation in _INTEGERS:
        return "int8"
    if weights in _INTEGERS:
        return "int8-dynamic"
    if stored in _INTEGERS:
        return "int8-weights"
    return "fp16" if "float16" in (weights, stored) else "fp32"


def _info(details: Mapping[str, Any], path: Path) -> TensorInfo:
    # shape_signature has -1 where the axis is dynamic; such a file still computes on the sizes
    # that were allocated (1), so these are what a caller has to feed.
    shape = tuple(int(size) for size in details["shape"])
    parameters = details["quantization_parameters"]
    scales, zero_points = parameters["scales"], parameters["zero_points"]
    if len(scales) > 1:
        raise BundleError(f"{path}: {details['name']!r} has a scale per channel; expected one")
    return TensorInfo(
        name=str(details["name"]),
        shape=shape,
        dtype=np.dtype(details["dtype"]).name,
        layout=layout_of(shape),
        scale=float(scales[0]) if len(scales) else None,
        zero_point=int(zero_points[0]) if len(zero_points) else None,
    )
