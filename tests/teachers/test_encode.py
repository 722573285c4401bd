import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.records import ImageInput
from edgekd.teachers.encode import ViewEncoder


def plain(channels: int, size: tuple[int, int] | None = None) -> ViewEncoder:
    return ViewEncoder(channels=channels, size=size, mean=(0.0,) * channels, std=(1.0,) * channels)


def test_normalises_per_channel(view: torch.Tensor, image: ImageInput) -> None:
    encoded = ViewEncoder.of(image)(view).numpy()
    mean, std = (np.array(v, dtype=np.float32)[:, None, None] for v in (image.mean, image.std))
    np.testing.assert_allclose(encoded, (view.numpy() - mean) / std, rtol=1e-5, atol=1e-6)


def test_grey_becomes_three_equal_channels() -> None:
    grey = torch.rand(2, 1, 4, 4)
    assert torch.equal(plain(3)(grey), torch.cat([grey, grey, grey], dim=1))


def test_rgb_becomes_the_grey_that_pillow_makes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(pixels).convert("L"), dtype=np.float32) / 255
    view = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    np.testing.assert_allclose(plain(1)(view)[0, 0].numpy(), grey, atol=1 / 255)


def test_a_flat_image_stays_flat_at_any_size() -> None:
    for size in ((4, 4), (9, 5), (32, 32)):
        resized = plain(1, size)(torch.full((1, 1, 8, 8), 0.25))
        assert resized.shape == (1, 1, *size)
        assert torch.allclose(resized, torch.tensor(0.25))


def test_bilinear_doubling_by_hand() -> None:
    # pixel centres: outputs lie a quarter of a pixel beside the inputs, borders repeat
    row = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert plain(1, (1, 4))(row).flatten().tolist() == pytest.approx([0, 0.25, 0.75, 1])


def test_grey_weights_get_the_mean_of_the_rgb_normalisation(image: ImageInput) -> None:
    grey = ViewEncoder.of(image).for_channels(1)
    assert grey.mean == pytest.approx((0.4,))
    assert grey.std == pytest.approx(((0.2 + 0.25 + 0.5) / 3,))
    assert ViewEncoder.of(image).for_channels(3) == ViewEncoder.of(image)
