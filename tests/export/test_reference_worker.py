import importlib.util

import numpy as np
import pytest
from tiny_models import BIAS, WEIGHTS, write_tflite

from edgekd.export.subprocesses import run_converter

FLAT = 1  # the tensor between reshape and product
ROWS = np.random.default_rng(0).standard_normal((3, 1, 2, 2, 3), np.float32)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="needs tensorflow")
@pytest.mark.parametrize(("seconds", "answered"), [(600, 3), (0, 1)])
def test_every_row_is_answered_or_as_many_as_there_is_time_for(tmp_path, seconds, answered):
    np.savez(tmp_path / "in.npz", **{"0": ROWS})
    job = {
        "model": str(write_tflite(tmp_path / "m.tflite")),
        "inputs": str(tmp_path / "in.npz"),
        "names": ["image"],
        "tensors": [FLAT],
        "seconds": seconds,
        "outputs": str(tmp_path / "out.npy"),
        "values": str(tmp_path / "values.npz"),
    }
    run_converter("edgekd.export.reference_worker", job, tmp_path, purpose="test it")
    rows = ROWS[:answered]
    expected = rows.reshape(answered, -1) @ WEIGHTS.T + BIAS
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-5, atol=1e-5)
    with np.load(tmp_path / "values.npz") as values:
        assert values.files == [str(FLAT)]
        assert np.array_equal(values[str(FLAT)], rows.reshape(answered, 1, -1))
