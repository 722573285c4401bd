from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.console import SilentConsole
from edgekd.evaluate.classification import answers, evaluate, normalise, predict, to_view
from edgekd.records import ImageInput, SignalInput
from edgekd.runtimes.encoding import InputEncoding, TensorInfo, encode_input

SPEC = ImageInput(channels=3, height=4, width=4, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
PIXELS = np.random.default_rng(0).integers(0, 256, size=(10, 4, 4, 3), dtype=np.uint8)
CPU = torch.device("cpu")


class Images:
    def __len__(self):
        return len(PIXELS)

    def __getitem__(self, indices):
        return (PIXELS[indices],)


class BrightestChannel(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=True)

    def forward(self, x):
        return x.mean(dim=(2, 3))


class Bars(SilentConsole):
    """Notes every bar, its length and its steps."""

    def __init__(self):
        self.seen = []

    @contextmanager
    def track(self, description, total, done=0):
        self.seen += [description, total]
        yield self

    def advance(self, steps=1):
        self.seen.append(steps)


def on_a_device(samples, spec, *, layout, clip=None):
    """The tensor that a session makes of decoded samples for a float file of one input."""
    encoding = InputEncoding(
        name=spec.name, kind=spec.kind, mean=spec.mean, std=spec.std, layout=layout, clip=clip
    )
    axes = {"NHWC": (1, 2, 0)}.get(layout, range(len(spec.shape)))
    shape = (None, *(spec.shape[axis] for axis in axes))
    info = TensorInfo(name=spec.name, shape=shape, dtype="float32")
    return encode_input(samples, info, encoding)


@pytest.mark.parametrize(("layout", "back"), [("NCHW", (0, 1, 2, 3)), ("NHWC", (0, 3, 1, 2))])
def test_training_and_device_see_the_same_tensor(layout, back):
    trained = normalise(to_view(PIXELS, CPU), SPEC).numpy()
    device = on_a_device(PIXELS, SPEC, layout=layout)
    np.testing.assert_allclose(trained, device.transpose(back), atol=1e-6)


def test_a_window_is_normalised_as_on_a_device_and_not_scaled():
    spec = SignalInput(name="a", channels=2, length=3, mean=(1.0, -2.0), std=(2.0, 0.5), clip=1.5)
    windows = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    trained = normalise(to_view(windows, CPU), spec).numpy()
    device = on_a_device(windows, spec, layout="NCT", clip=spec.clip)
    np.testing.assert_allclose(trained, device, atol=1e-6)
    assert abs(trained).max() == 1.5


def test_scoring_shows_how_far_it_is():
    console = Bars()
    labels = np.zeros(10, np.int64)
    answers(lambda view: view, Images(), device=CPU, batch_size=4, console=console)
    evaluate(BrightestChannel(), Images(), labels, (SPEC,), split="val", console=console)
    assert console.seen == ["Predicting", 10, 4, 4, 2, "Scoring val", 10, 10]


def test_predictions_come_in_order_whatever_the_batches():
    whole = answers(lambda view: view.mean(dim=(2, 3)), Images(), device=CPU)
    parts = answers(lambda view: view.mean(dim=(2, 3)), Images(), device=CPU, batch_size=3)
    np.testing.assert_allclose(whole, parts)
    np.testing.assert_allclose(whole, PIXELS.mean(axis=(1, 2)) / 255, atol=1e-6)


def test_predicting_restores_the_mode():
    module = BrightestChannel().train()
    predict(module, Images(), (SPEC,))
    assert module.training


def test_the_metric_by_hand():
    means = (PIXELS.mean(axis=(1, 2)) / 255 - SPEC.mean) / np.array(SPEC.std)
    labels = means.argmax(axis=1)
    labels[:3] = (labels[:3] + 1) % 3
    metric = evaluate(BrightestChannel(), Images(), labels, (SPEC,), split="test")
    assert (metric.value, metric.num_samples) == (0.7, 10)
