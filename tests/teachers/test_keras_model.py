import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.errors import BundleError, MissingExtraError, ModelError
from edgekd.teachers.keras_model import KerasWorker
from edgekd.teachers.protocol import Teacher

Opened = Callable[..., Teacher]

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="the extra tensorflow is not installed"
)

SCRIPT = """
import sys
import keras, numpy as np, tensorflow as tf
out = sys.argv[1]
keras.utils.set_random_seed(0)
inputs = keras.Input((16, 16, 3))
pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(inputs))
logits = keras.layers.Dense(5)(pooled)
plain = keras.Model(inputs, logits)
soft = keras.Model(inputs, keras.layers.Softmax()(logits))
soft.save(out + "/soft.keras")
plain.export(out + "/saved", verbose=False)
x = np.random.default_rng(0).random((3, 16, 16, 3), dtype=np.float32)
np.savez(out + "/expected.npz", x=x, logits=plain(x).numpy())

class Writer(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.float32)])
    def __call__(self, x):
        tf.io.write_file(out + "/exploded", "boom")
        return tf.reduce_mean(x, axis=(1, 2))

writer = Writer()
tf.saved_model.save(writer, out + "/writer", signatures={"serving_default": writer.__call__})
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return folder


@needs_tensorflow
@pytest.mark.parametrize("name", ["soft.keras", "saved"])
def test_answers_like_keras(name: str, files: Path, opened: Opened) -> None:
    expected = np.load(files / "expected.npz")
    teacher = opened(f"{files / name}#mean=0#std=1")
    view = torch.from_numpy(expected["x"]).permute(0, 3, 1, 2)
    soft = (teacher(view).logits / 4).softmax(1)
    reference = (torch.from_numpy(expected["logits"]) / 4).softmax(1)
    assert torch.allclose(soft, reference, atol=1e-5)
    assert teacher.ref.kind == "keras"
    if name == "soft.keras":
        assert teacher.ref.num_params == (3 * 9 * 4 + 4) + (4 * 5 + 5)


@needs_tensorflow
def test_the_worker_ends_with_its_owner_and_its_death_is_reported(files: Path) -> None:
    worker = KerasWorker(files / "soft.keras")
    process = worker._process
    with pytest.raises(ModelError, match="does not run"):
        worker.run(torch.zeros(1, 3, 2, 2))  # smaller than the kernel
    assert worker.run(torch.zeros(1, 3, 16, 16)).shape == (1, 5)  # and it still answers
    process.kill()
    process.wait()
    with pytest.raises(ModelError, match="TensorFlow's process ended"):
        worker.run(torch.zeros(1, 3, 16, 16))
    worker.close()
    assert process.poll() is not None


@needs_tensorflow
def test_a_graph_that_writes_files_is_refused(files: Path, opened: Opened) -> None:
    with pytest.raises(ModelError, match="WriteFile, which could run code or touch files"):
        opened(files / "writer")
    assert not (files / "exploded").exists()


@needs_tensorflow
def test_a_damaged_saved_model(tmp_path: Path, opened: Opened) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    with pytest.raises(BundleError, match="TensorFlow cannot load it"):
        opened(tmp_path)


def test_without_tensorflow(
    tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.keras").write_bytes(b"x")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgekd\[tensorflow\]'"):
        opened(tmp_path / "net.keras")
