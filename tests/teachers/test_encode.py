import numpy as np
import pytest
import torch
from PIL import Image

from edgekd.records import ImageInput, SignalInput
from edgekd.teachers.encode import InputsEncoder, SignalEncoder, ViewEncoder


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


def test_a_sensors_window_is_normalised_per_channel_and_limited() -> None:
    spec = SignalInput(name="a", channels=2, length=2, mean=(1.0, 10.0), std=(2.0, 5.0), clip=1.5)
    window = torch.tensor([[[1.0, 3.0], [0.0, 20.0]]])
    # (3 - 1) / 2 and (0 - 10) / 5, the latter beyond the limit
    assert SignalEncoder(spec=spec)(window).tolist() == [[[0.0, 1.0], [-1.5, 1.5]]]
    free = spec.model_copy(update={"clip": None})
    assert SignalEncoder(spec=free)(window).tolist() == [[[0.0, 1.0], [-2.0, 2.0]]]


def test_every_input_of_a_teacher_comes_from_its_place_among_the_datas() -> None:
    spec = SignalInput(name="a", channels=1, length=3, mean=(1.0,), std=(2.0,))
    encoder = InputsEncoder(parts=((2, SignalEncoder(spec=spec)), (0, plain(1))))
    image, unused, window = torch.rand(2, 1, 4, 4), torch.rand(2, 5, 5), torch.ones(2, 1, 3)
    found = encoder((image, unused, window))
    assert torch.equal(found[0], torch.zeros(2, 1, 3))
    assert torch.equal(found[1], image)
    assert encoder.image is None
    assert InputsEncoder.of_image(plain(1)).image == plain(1)
