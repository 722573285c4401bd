"""A bundle run by torch eager, behind the runtimes' protocol: the baseline row of a bench.

It lives here because runtimes must not import torch; their table names this module.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd.records import ImageInput, StudentBundle
from edgekd.runtimes.encoding import InputEncoding, TensorInfo, decode_output, encode_samples
from edgekd.students.build import load_student

_PRECISIONS: Final[Mapping[torch.dtype, str]] = {torch.float32: "fp32", torch.float16: "fp16"}


def version() -> str:
    """Torch's version."""
    return str(torch.__version__)


def open_session(
    path: Path, *, num_threads: int, encodings: Sequence[InputEncoding] = ()
) -> "TorchSession":
    """Load a bundle folder; ``num_threads`` compute one operator, operators run one by one.

    Raises:
        BundleError: If the bundle is damaged.
    """
    torch.set_num_threads(num_threads)
    if torch.get_num_interop_threads() != 1:  # may be set only once in a process
        torch.set_num_interop_threads(1)
    record, module = load_student(path)
    return TorchSession(path, record, module, encodings)


class TorchSession:
    """A loaded bundle in eval mode."""

    def __init__(
        self,
        path: Path,
        record: StudentBundle,
        module: nn.Module,
        encodings: Sequence[InputEncoding],
    ) -> None:
        self._path = path
        self._module = module
        self._encodings = tuple(encodings)
        self.inputs = tuple(_info(spec) for spec in record.preprocess.inputs)
        self.outputs = (
            TensorInfo(
                name=record.arch.output_name,
                shape=(None, record.arch.output_size),
                dtype="float32",
            ),
        )

    def encode(self, samples: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Decoded samples as the module's inputs."""
        return encode_samples(self.inputs, self._encodings, samples, source=self._path.name)

    def invoke(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """One eager forward pass; numpy and torch share the memory on both sides."""
        with torch.inference_mode():
            answer = self._module(*(torch.from_numpy(feeds[info.name]) for info in self.inputs))
        return [answer.numpy()]

    def decode(self, outputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """The logits ``(n, K)`` or embeddings ``(n, D)``."""
        return decode_output(outputs[0], self.outputs[0])

    def precision(self) -> str:
        """The number type of the weights."""
        return _PRECISIONS[next(self._module.parameters()).dtype]


def _info(spec: Any) -> TensorInfo:
    if isinstance(spec, ImageInput):
        shape = (None, spec.channels, spec.height, spec.width)
        return TensorInfo(name=spec.name, shape=shape, dtype="float32", layout="NCHW")
    return TensorInfo(
        name=spec.name, shape=(None, spec.channels, spec.length), dtype="float32", layout=None
    )
