"""NNCF's post-training int8 of an ONNX file, as its documentation does it; needs no edgekd.

python peer_nncf.py FP32.onnx CALIBRATION.npz TARGET.onnx
"""

import sys

import nncf
import numpy as np
import onnx


def main(fp32: str, calibration: str, target: str) -> None:
    """Quantize with NNCF's defaults, one image per calibration step."""
    with np.load(calibration, allow_pickle=False) as file:
        images = {name: file[name] for name in file.files}
    rows = len(next(iter(images.values())))
    samples = [{name: values[i : i + 1] for name, values in images.items()} for i in range(rows)]
    quantized = nncf.quantize(onnx.load(fp32), nncf.Dataset(samples), subset_size=rows)
    onnx.save(quantized, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
