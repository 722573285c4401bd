"""NNCF's post-training int8 of an ONNX file, as its documentation does it; needs no edgekd.

python peer_nncf.py FP32.onnx CALIBRATION.npz TARGET.onnx
"""

import sys

import nncf
import numpy as np
import onnx

TRANSFORMER = {"LayerNormalization", "Softmax"}
"""Operators by which a graph is known as a transformer's, whatever its name."""


def main(fp32: str, calibration: str, target: str) -> None:
    """Quantize with NNCF's defaults, one image per calibration step."""
    with np.load(calibration, allow_pickle=False) as file:
        images = {name: file[name] for name in file.files}
    rows = len(next(iter(images.values())))
    samples = [{name: values[i : i + 1] for name, values in images.items()} for i in range(rows)]
    model = onnx.load(fp32)
    has_attention = {node.op_type for node in model.graph.node} >= TRANSFORMER
    kind = nncf.ModelType.TRANSFORMER if has_attention else None
    quantized = nncf.quantize(model, nncf.Dataset(samples), subset_size=rows, model_type=kind)
    onnx.save(quantized, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
