import importlib.util

import numpy as np
import pytest
from tiny_models import BIAS, WEIGHTS, write_tflite

from edgekd.export.subprocesses import run_converter


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs tensorflow")
def test_every_row_is_answered(tmp_path):
    rows = np.random.default_rng(0).standard_normal((3, 1, 2, 2, 3), np.float32)
    np.savez(tmp_path / "in.npz", **{"0": rows})
    job = {
        "model": str(write_tflite(tmp_path / "m.tflite")),
        "inputs": str(tmp_path / "in.npz"),
        "names": ["image"],
        "outputs": str(tmp_path / "out.npy"),
    }
    run_converter("edgekd.export.reference_worker", job, tmp_path, purpose="test it")
    expected = rows.reshape(3, -1) @ WEIGHTS.T + BIAS
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5, atol=1e-5)
