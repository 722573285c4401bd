"""onnx2tf's int8 TFLite of an ONNX file, as its documentation does it; needs no edgekd.

    python peer_onnx2tf.py FP32.onnx CALIBRATION.npz TARGET.tflite

Of the files it writes the one with float32 ends is taken, as edgekd's and the tool chain's have.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx2tf
import onnx2tf.onnx2tf as converter


def main(fp32: str, calibration: str, target: str) -> None:
    """Convert with per-channel static int8, calibrated on the images."""
    with tempfile.TemporaryDirectory() as folder, np.load(calibration, allow_pickle=False) as file:
        inputs, shapes = [], []
        for name in file.files:
            images = Path(folder) / f"{name}.npy"
            np.save(images, file[name].transpose(0, 2, 3, 1))  # channels last, already normalised
            inputs.append([name, str(images), [[[[0.0] * 3]]], [[[[1.0] * 3]]]])
            shapes.append(f"{name}:{','.join(map(str, (1, *file[name].shape[1:])))}")
        # It compares its layers on photographs that it fetches; ours need no network.
        converter.download_test_image_data = lambda: file[file.files[0]].transpose(0, 2, 3, 1)
        onnx2tf.convert(
            input_onnx_file_path=fp32,
            output_folder_path=folder,
            overwrite_input_shape=shapes,
            output_integer_quantized_tflite=True,
            quant_type="per-channel",
            custom_input_op_name_np_data_path=inputs,
            non_verbose=True,
        )
        (found,) = [
            path
            for path in Path(folder).glob("*_integer_quant.tflite")
            if "full_integer" not in path.name and "int16" not in path.name
        ]
        shutil.copyfile(found, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
