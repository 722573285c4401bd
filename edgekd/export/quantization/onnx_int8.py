"""Static int8 ONNX: QDQ format, weights per channel, types that this machine's kernels like."""

import platform
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgekd.errors import ExportError
from edgekd.export.quantization.onnx_stem import pad_stem_channels
from edgekd.export.quiet import quiet_converter

Arrays = Mapping[str, NDArray[Any]]
Processor = Literal["arm", "x86-vnni", "x86"]

_BATCH: Final = 16  # samples per calibration run: bounds memory, changes no range
_BEFORE_THE_NETWORK: Final = frozenset({"Cast", "Mul", "Add"})  # InputNormalisation's operators


@dataclass(frozen=True, kw_only=True)
class OnnxTypes:
    """Number types that suit a processor; figures in the module that chooses them."""

    activations: QuantType
    reduce_range: bool
    note: str


_TYPES: Final[Mapping[Processor, OnnxTypes]] = {
    # On x86 signed activations leave the fast kernels: 2.6 times slower on a ResNet-20.
    "x86-vnni": OnnxTypes(
        activations=QuantType.QUInt8, reduce_range=False, note="U8 activations, S8 weights"
    ),
    # Without VNNI two products are added in 16 bits, which saturate unless weights have 7 bits.
    "x86": OnnxTypes(
        activations=QuantType.QUInt8, reduce_range=True, note="U8 activations, 7-bit S8 weights"
    ),
    "arm": OnnxTypes(
        activations=QuantType.QInt8, reduce_range=False, note="S8 activations, S8 weights"
    ),
}


def quantize_onnx(
    model: onnx.ModelProto, calibration: Arrays
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The int8 form of an fp32 model, and notes that say which types it uses and why.

    Args:
        model: With a dynamic batch axis, as :func:`edgekd.export.onnx_file.export_onnx` makes it.
        calibration: Input name to ``(n, ...)`` samples in the file's own encoding.

    Raises:
        ExportError: If ONNX Runtime's quantizer fails.
    """
    processor = this_processor()
    types = _TYPES[processor]
    with tempfile.TemporaryDirectory(prefix="edgekd-int8-") as scratch, quiet_converter():
        folder = Path(scratch)
        try:
            quantized = _quantize(model, calibration, types, folder)
        except Exception as error:  # the quantizer raises bare types of its own
            raise ExportError(
                f"ONNX Runtime cannot quantize the student: {error or type(error).__name__}"
            ) from error
    notes = [f"int8 types for {processor} (this machine): {types.note}"]
    if processor != "arm" and pad_stem_channels(quantized):
        notes.append("input channels of the first convolution padded to 4 for the int8 kernel")
    return quantized, tuple(notes)


def this_processor() -> Processor:
    """Which of the int8 kernel families this machine has."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "arm"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "x86"
    return "x86-vnni" if "avx512_vnni" in flags or "avx_vnni" in flags else "x86"


def nodes_before_the_network(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that normalise raw pixels: they stay in float.

    Their output is quantized once for the first convolution; quantizing each step would round
    three times.
    """
    raw = {
        item.name
        for item in model.graph.input
        if item.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    }
    names = []
    for node in model.graph.node:  # in topological order, as the standard demands
        if node.op_type in _BEFORE_THE_NETWORK and node.input[0] in raw:
            raw.update(node.output)
            names.append(node.name)
    return names


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    """Hands the calibration samples over in batches."""

    def __init__(self, feeds: Arrays) -> None:
        self._batches = _batches(feeds)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._batches, None)


def _batches(feeds: Arrays) -> Iterator[dict[str, NDArray[Any]]]:
    rows = len(next(iter(feeds.values())))
    for start in range(0, rows, _BATCH):
        yield {name: values[start : start + _BATCH] for name, values in feeds.items()}


def _quantize(
    model: onnx.ModelProto, calibration: Arrays, types: OnnxTypes, folder: Path
) -> onnx.ModelProto:
    prepared, target = folder / "prepared.onnx", folder / "int8.onnx"
    onnx.save(model, folder / "fp32.onnx")
    # torch's exporter wrote every shape already: onnx's own inference suffices
    quant_pre_process(str(folder / "fp32.onnx"), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(target),
        _Reader(calibration),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=types.reduce_range,
        activation_type=types.activations,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=nodes_before_the_network(onnx.load(prepared)),
    )
    return onnx.load(target)
