"""ONNX files with ONNX Runtime on the CPU."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from edgekd.errors import BundleError
from edgekd.runtimes.encoding import (
    InputEncoding,
    TensorInfo,
    decode_output,
    encode_samples,
    layout_of,
)
from edgekd.runtimes.onnx_file import onnx_precision
from edgekd.runtimes.session import reporting_runtime_errors

_NAME: Final = "onnxruntime"
_FATAL_ONLY: Final = 4  # ONNX Runtime's severity scale: it raises its errors (3) as well
_DTYPES: Final[Mapping[str, str]] = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
_Node = tuple[str, str, list[Any]]
"""Name, element type as ONNX Runtime spells it, and sizes (a name or None where dynamic)."""


def version() -> str:
    """ONNX Runtime's version."""
    return str(onnxruntime.__version__)


def open_session(
    path: Path, *, num_threads: int, encodings: Sequence[InputEncoding] = ()
) -> "OnnxSession":
    """Load an ONNX file; ``num_threads`` compute one operator, operators run one after another.

    Raises:
        BundleError: If ONNX Runtime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _FATAL_ONLY
    with reporting_runtime_errors(path, _NAME, "load"):
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        # Reading a name decodes it: a damaged one raises here.
        inputs, outputs = (
            [(str(node.name), node.type, list(node.shape)) for node in nodes]
            for nodes in (session.get_inputs(), session.get_outputs())
        )
    return OnnxSession(path, session.run, inputs, outputs, encodings)


class OnnxSession:
    """A loaded ONNX file."""

    def __init__(
        self,
        path: Path,
        run: Callable[..., list[NDArray[Any]]],
        inputs: Sequence[_Node],
        outputs: Sequence[_Node],
        encodings: Sequence[InputEncoding],
    ) -> None:
        self._path = path
        self._run = run
        self.inputs = tuple(_info(node, path) for node in inputs)
        self.outputs = tuple(_info(node, path) for node in outputs)
        self._output_names = [info.name for info in self.outputs]
        self._encodings = tuple(encodings)

    def encode(self, samples: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Decoded samples as the file's inputs."""
        return encode_samples(self.inputs, self._encodings, samples, source=self._path.name)

    def invoke(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """One inference: ``InferenceSession.run`` and nothing else."""
        return self._run(self._output_names, feeds)

    def decode(self, outputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """The first output as float32 logits ``(n, K)``."""
        return decode_output(outputs[0], self.outputs[0])

    def precision(self) -> str:
        """Read from the graph's nodes."""
        return onnx_precision(self._path)


def _info(node: _Node, path: Path) -> TensorInfo:
    name, element, sizes = node
    dtype = _DTYPES.get(element)
    if dtype is None:
        raise BundleError(f"{path}: {name!r} is {element}; edgekd feeds plain tensors only")
    shape = tuple(size if isinstance(size, int) and size >= 0 else None for size in sizes)
    return TensorInfo(name=name, shape=shape, dtype=dtype, layout=layout_of(shape))
