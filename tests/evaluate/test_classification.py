import numpy as np
import torch
from torch import nn

from edgekd.data.preprocess import encode_images, encode_signals
from edgekd.evaluate.classification import answers, evaluate, normalise, predict, to_view
from edgekd.records import ImageInput, SignalInput

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


def test_training_and_device_see_the_same_tensor():
    trained = normalise(to_view(PIXELS, CPU), SPEC).numpy()
    device = encode_images(PIXELS, SPEC, layout="NCHW")
    np.testing.assert_allclose(trained, device, atol=1e-6)


def test_a_window_is_normalised_as_on_a_device_and_not_scaled():
    spec = SignalInput(name="a", channels=2, length=3, mean=(1.0, -2.0), std=(2.0, 0.5), clip=1.5)
    windows = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    trained = normalise(to_view(windows, CPU), spec).numpy()
    np.testing.assert_allclose(trained, encode_signals(windows, spec), atol=1e-6)
    assert abs(trained).max() == 1.5


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
