"""int8 as the two tool chains ship it: what a user gets from their own documentation."""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from edgekd.export.quantization.onnx_quantizer import batches
from edgekd.export.quantization.onnx_types import TYPES, this_processor
from edgekd.export.quiet import quiet_converter, quiet_stderr

Arrays = Mapping[str, np.ndarray]


class Reader(CalibrationDataReader):
    """Hands the calibration samples over in batches."""

    def __init__(self, feeds: Arrays) -> None:
        self._batches: Iterator[dict[str, Any]] = batches(feeds, 16)

    def get_next(self) -> dict[str, Any] | None:
        """The next batch, or ``None``."""
        return next(self._batches, None)


def quantize_onnx(fp32: Path, target: Path, feeds: Arrays) -> None:
    """ONNX Runtime's ``quantize_static``: QDQ, per channel, the types it advises for this CPU."""
    types = TYPES[this_processor()]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        plain, prepared = Path(folder) / "plain.onnx", Path(folder) / "prepared.onnx"
        model = onnx.load(fp32)
        del model.metadata_props[:]
        onnx.save(model, plain)
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(feeds),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=types.weight_bits == 7,
            activation_type=QuantType.QInt8 if types.signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        logging.disable(logging.NOTSET)


def quantize_tflite(fp32: Path, target: Path, feeds: Arrays) -> None:
    """ai-edge-quantizer's ``static_wi8_ai8``, with float ends as the fp32 file has them."""
    from ai_edge_quantizer import algorithm_manager, qtyping, quantizer, recipe

    tool = quantizer.Quantizer(str(fp32), recipe.static_wi8_ai8())
    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        tool.update_quantization_recipe(
            ".*", end, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE
        )
    rows = len(next(iter(feeds.values())))
    samples = [{name: values[i : i + 1] for name, values in feeds.items()} for i in range(rows)]
    signature = "serving_default"
    with quiet_stderr(), quiet_converter():
        ranges = tool.calibrate({signature: samples}, num_threads=1)
        target.write_bytes(tool.quantize(ranges, enable_progress_report=False).quantized_model)
