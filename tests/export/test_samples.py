from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.data.calibration import calibration_indices
from edgekd.data.open import open_dataset
from edgekd.export.samples import gather_samples, made_up_images, source_logits
from edgekd.records import DataRef, ImageInput, Preprocess, SignalInput

IMAGE = ImageInput(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))
DIGITS = tuple("0123456789")


class Sum(nn.Module):
    """Two logits: the sum of all inputs, and its negative."""

    def forward(self, *inputs):
        total = sum(x.flatten(1).sum(1, keepdim=True) for x in inputs)
        return torch.cat([total, -total], dim=1)


def record(*specs, labels=DIGITS, fingerprint=""):
    data = DataRef(source="signs.zip", fingerprint=fingerprint, num_samples={})
    return SimpleNamespace(
        preprocess=Preprocess(inputs=specs),
        labels=labels,
        task="classification",
        provenance=SimpleNamespace(data=data),
    )


def test_calibration_is_from_train_and_the_judges_are_from_val():
    recipe = ExportRecipe(data="builtin:digits", int8=True, num_calibration=30, num_parity=20)
    samples = gather_samples(record(IMAGE), Sum(), recipe, SilentConsole())
    dataset = open_dataset(recipe, SilentConsole())
    train, val = dataset.splits["train"], dataset.splits["val"]
    chosen = calibration_indices(train.labels, num_samples=30, seed=0)
    assert np.array_equal(samples.calibration.decoded[0], train.load(chosen, IMAGE))
    assert np.bincount(train.labels[chosen]).tolist() == [3] * 10
    every = val.load(None, IMAGE)
    for pixels, label in zip(samples.reference.samples[0], samples.reference.labels, strict=True):
        matches = (every == pixels).all(axis=(1, 2, 3))
        assert label in val.labels[matches]
    assert (len(samples.reference.labels), samples.reference.split) == (20, "val")


def test_other_data_than_in_training_are_told_and_noted():
    recipe = ExportRecipe(data="builtin:digits", num_parity=5)
    own = open_dataset(recipe, SilentConsole()).fingerprint
    same = gather_samples(record(IMAGE, fingerprint=own), Sum(), recipe, SilentConsole())
    assert same.notes == ()
    with pytest.warns(UserWarning, match="trained on signs.zip; --data builtin:digits holds other"):
        other = gather_samples(record(IMAGE, fingerprint="9" * 64), Sum(), recipe, SilentConsole())
    assert other.notes == (
        "judged on other data than the student was trained on, or on another split of them "
        f"(fingerprint {own[:12]}, of the training 999999999999)",
    )


def test_without_data_samples_are_made_up_the_same_way_twice():
    recipe = ExportRecipe(seed=3)
    a, b = (gather_samples(record(IMAGE), Sum(), recipe, SilentConsole()) for _ in range(2))
    assert a.calibration is None
    assert (a.reference.labels, a.reference.split) == (None, None)
    assert np.array_equal(a.reference.samples[0], b.reference.samples[0])
    assert a.reference.samples[0].dtype == np.uint8


def test_made_up_images_hang_together_as_photographs_do():
    spec = ImageInput(channels=3, height=24, width=40, mean=(0.5,) * 3, std=(0.5,) * 3)
    images = made_up_images(50, spec, np.random.default_rng(0))
    assert images.shape == (50, 24, 40, 3) and images.dtype == np.uint8
    assert 50 < images.std() < 60 and 120 < images.mean() < 136
    left, right = images[:, :, :-1].ravel(), images[:, :, 1:].ravel()
    assert np.corrcoef(left, right)[0, 1] > 0.5  # white noise: 0
    one = ImageInput(channels=1, height=1, width=1, mean=(0.5,), std=(0.5,))
    assert made_up_images(2, one, np.random.default_rng(0)).shape == (2, 1, 1, 1)


def test_the_sources_answer_by_hand():
    signal = SignalInput(name="wrist", channels=1, length=2, mean=(1.0,), std=(2.0,))
    pixels = np.full((2, 8, 8, 1), 51, np.uint8)  # (0.2 - 0.5) / 0.25 = -1.2 each
    windows = np.array([[[1, 3]], [[5, 5]]], np.float32)  # 0 + 1 and 2 + 2
    logits = source_logits(Sum(), [pixels, windows], [IMAGE, signal])
    np.testing.assert_allclose(logits[:, 0], [-1.2 * 64 + 1, -1.2 * 64 + 4], rtol=1e-5)
    np.testing.assert_allclose(logits[:, 1], -logits[:, 0])
