import os
import subprocess
import sys

import pytest
from tiny_models import write_onnx

_OPEN_A_SESSION = """
import onnxruntime, sys
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""


@pytest.mark.parametrize(
    "program",
    [
        ("-c", f"import edgekd{_OPEN_A_SESSION}"),
        ("-m", "edgekd", "bench", "--threads", "1"),
    ],
    ids=["in this process", "in a runner"],
)
def test_no_runtime_keeps_a_device_id_or_sends_events(tmp_path, program):
    model, home = write_onnx(tmp_path / "m.onnx"), tmp_path / "home"
    home.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    subprocess.run([sys.executable, *program, model], env=environment, check=True)
    assert list(home.iterdir()) == []
