import numpy as np
import pytest
import torch
from tiny_bundle import write_tiny_bundle

from edgekd.bundle import WEIGHTS_FILE
from edgekd.errors import BundleError
from edgekd.records import ImageInput, Preprocess
from edgekd.runtimes.encoding import InputEncoding
from edgekd.runtimes.session import open_session

IMAGE = ImageInput(channels=3, height=8, width=8, mean=(0.5,) * 3, std=(0.25,) * 3)
ENCODING = InputEncoding(name="image", kind="image", mean=IMAGE.mean, std=IMAGE.std, layout="NCHW")


@pytest.fixture
def student(tmp_path):
    return write_tiny_bundle(tmp_path / "student", Preprocess(inputs=(IMAGE,)), ("a", "b"))


def test_the_session_answers_like_the_module(tmp_path, student):
    session = open_session(tmp_path / "student", num_threads=1, encodings=[ENCODING])
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    logits = session.decode(session.invoke(session.encode([pixels])))
    x = torch.from_numpy((pixels / 255 - 0.5) / 0.25).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        np.testing.assert_allclose(logits, student(x).numpy(), rtol=1e-4, atol=1e-5)
    assert session.precision() == "fp32"
    assert (session.inputs[0].shape, session.outputs[0].shape) == ((None, 3, 8, 8), (None, 2))
    assert torch.get_num_threads() == 1


def test_an_altered_bundle_is_refused(tmp_path, student):
    weights = tmp_path / "student" / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BundleError, match="sha256"):
        open_session(tmp_path / "student", num_threads=1)


def test_a_session_of_an_embedding_network_answers_embeddings(tmp_path):
    preprocess = Preprocess(inputs=(IMAGE,))
    network = write_tiny_bundle(tmp_path / "found", preprocess, ("a", "b"), embedding_dim=6)
    session = open_session(tmp_path / "found", num_threads=1, encodings=[ENCODING])
    (output,) = session.outputs
    assert (output.name, output.shape) == ("embedding", (None, 6))
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    found = session.decode(session.invoke(session.encode([pixels])))
    x = torch.from_numpy((pixels / 255 - 0.5) / 0.25).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        np.testing.assert_allclose(found, network(x).embedding.numpy(), rtol=1e-4, atol=1e-5)
