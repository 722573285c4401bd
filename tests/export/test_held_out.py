from types import SimpleNamespace

import numpy as np
import pytest
from tiny_models import BIAS, WEIGHTS, write_onnx

from edgekd.config import ExportRecipe
from edgekd.errors import ParityError
from edgekd.export import held_out
from edgekd.export.held_out import keeps_the_budget, metric_drop_of, parity_of
from edgekd.export.parity import Reference
from edgekd.export.samples import ExportSamples
from edgekd.records import ImageInput, Preprocess

IMAGE = ImageInput(channels=3, height=2, width=2, mean=(0.5,) * 3, std=(0.5,) * 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 2, 2, 3), dtype=np.uint8)


def source(**limits):
    return SimpleNamespace(
        recipe=ExportRecipe(**limits),
        record=SimpleNamespace(preprocess=Preprocess(inputs=(IMAGE,))),
    )


def tiny_answers():
    """What the tiny file has to answer, in NumPy."""
    x = (PIXELS / 255 - 0.5) / 0.5
    return (x.transpose(0, 3, 1, 2).reshape(len(x), -1) @ WEIGHTS.T + BIAS).astype(np.float32)


def samples(logits, labels, unquantized=None):
    reference = Reference(
        samples=[PIXELS], logits=logits, labels=labels, split="val", unquantized=unquantized
    )
    return ExportSamples(calibration=None, reference=reference)


@pytest.fixture
def path(tmp_path):
    return write_onnx(tmp_path / "m.onnx")


def test_a_file_is_compared_sample_by_sample(path):
    right = tiny_answers()
    parity = parity_of(path, "onnx", source(), samples(right, right.argmax(1)))
    assert (parity.num_samples, parity.batch_sizes, parity.split) == (12, (1,), "val")
    assert parity.max_abs_err < 1e-5
    assert (parity.top1_agreement, parity.metric_drop) == (1.0, 0.0)


def test_the_drop_is_against_the_float_network_inside_the_file(path):
    right = tiny_answers()
    labels = right.argmax(1)
    labels[:3] = (labels[:3] + 1) % 3  # the file is wrong on 3 of 12
    perfect = np.eye(3, dtype=np.float32)[labels]
    assert metric_drop_of(path, "onnx", source(), samples(perfect, labels)) == 0.25
    # a recovered network that errs alike loses nothing by its rounding
    assert metric_drop_of(path, "onnx", source(), samples(perfect, labels, right)) == 0.0


def test_the_budget_is_that_of_the_recipe(path):
    right = tiny_answers()
    labels = right.argmax(1)
    labels[:3] = (labels[:3] + 1) % 3
    judged = samples(np.eye(3, dtype=np.float32)[labels], labels, right)
    loose = {"min_agreement": 0.5, "min_sqnr_db": 20}
    assert keeps_the_budget(path, "onnx", source(max_drop_points=30, **loose), judged)
    assert not keeps_the_budget(path, "onnx", source(max_drop_points=20, **loose), judged)


def test_answers_that_are_no_numbers_keep_no_budget(path, monkeypatch):
    bad = np.full((12, 3), np.nan, np.float32)
    monkeypatch.setattr(held_out, "run_session", lambda *_, **__: bad)
    judged = samples(tiny_answers(), np.zeros(12, np.int64))
    assert not keeps_the_budget(path, "onnx", source(), judged)
    with pytest.raises(ParityError, match=r"m\.onnx: answers NaN or infinity"):
        metric_drop_of(path, "onnx", source(), judged)
