"""ONNX: ranges of its activations and int8 files of it, for ONNX Runtime."""

from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime
from numpy.typing import NDArray

from edgekd.errors import ExportError
from edgekd.export.quantization.onnx_graph import OnnxGraph
from edgekd.export.quantization.onnx_mixed import write_mixed
from edgekd.export.quantization.onnx_rewrites import rewrite_for_int8
from edgekd.export.quantization.onnx_stem import pad_stem_channels
from edgekd.export.quantization.onnx_types import TYPES
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.recipe import Processor, Range
from edgekd.export.quantization.units import Choices, Unit

Arrays = Mapping[str, NDArray[Any]]

_BATCH: Final = 8  # samples per calibration run: bounds memory, changes no range
_ERRORS_ONLY: Final = 3


class OnnxQuantizer:
    """Writes int8 forms of one fp32 ONNX file.

    Args:
        fp32: The file, without edgekd's metadata.
        processor: Whose int8 types to use.
    """

    format: Final = "onnx"

    def __init__(self, fp32: Path, processor: Processor) -> None:
        self._graph = OnnxGraph.read(rewrite_for_int8(onnx.load(fp32)))
        self._types = TYPES[processor]
        self._processor = processor
        self.calibration_batch = _batch_of(self._graph.model)
        self.units: tuple[Unit, ...] = self._graph.units
        self.notes = (f"int8 types for {processor}: {self._types.note}",)

    def calibrate(self, feeds: Arrays, collector: RangeCollector) -> None:
        """Show every activation of every sample to a collector.

        Args:
            feeds: Input name to ``(n, ...)`` samples in the file's own encoding.
            collector: Gets each float activation, batch by batch.

        Raises:
            ExportError: If ONNX Runtime cannot run the graph.
        """
        session = self._open_with_all_outputs()
        names = [output.name for output in session.get_outputs()]
        for batch in batches(feeds, self.calibration_batch):
            for name, values in zip(names, session.run(names, batch), strict=True):
                collector.add(name, values)
            for name, values in batch.items():
                collector.add(name, values)

    def write(self, choices: Choices, ranges: Mapping[str, Range], path: Path) -> None:
        """Write the int8 file that computes as ``choices`` say."""
        model = write_mixed(self._graph, choices, ranges, self._types)
        if self._processor != "arm":
            pad_stem_channels(model)
        path.write_bytes(model.SerializeToString(deterministic=True))

    @staticmethod
    def versions() -> dict[str, str]:
        """Of what runs the files and of what writes them."""
        return {name: metadata.version(name) for name in ("onnxruntime", "onnx")}

    def _open_with_all_outputs(self) -> Any:
        model = onnx.ModelProto()
        model.CopyFrom(self._graph.model)
        known = {item.name for item in (*model.graph.output, *model.graph.input)}
        wanted = sorted(self._graph.floats - known)
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        try:
            return onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # the runtime raises bare types of its own
            raise ExportError(f"ONNX Runtime cannot calibrate the student: {error}") from error


def _batch_of(model: onnx.ModelProto) -> int:
    """Samples per run: the only number the model takes, if it does."""
    axis = model.graph.input[0].type.tensor_type.shape.dim[0]
    return int(axis.dim_value) or _BATCH  # 0 stands for a dynamic axis


def batches(feeds: Arrays, size: int) -> Iterator[dict[str, NDArray[Any]]]:
    """The samples in order, ``size`` at a time."""
    rows = len(next(iter(feeds.values())))
    for start in range(0, rows, size):
        yield {name: values[start : start + size] for name, values in feeds.items()}
