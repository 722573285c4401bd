import subprocess
import sys

import pytest
from tiny_models import write_onnx, write_tflite

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from edgekd.export.quantization.candidates import answers

path = Path(sys.argv[1])
shape = (1, 2, 2, 3) if path.suffix == ".tflite" else (1, 3, 2, 2)
print(answers(path, {"image": np.zeros(shape, np.float32)}, batch=1).tolist())
"""


@pytest.mark.parametrize("write", [write_onnx, write_tflite])
def test_runtimes_say_nothing_on_the_console(write, tmp_path):
    """In a process of its own: what native code announces, it announces once per process."""
    path = write(tmp_path / f"m.{write.__name__.removeprefix('write_')}")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[[0.5, -0.25, 0.125]]\n"  # the bias alone
