import numpy as np
import pytest

from edgekd.config import AugmentRecipe
from edgekd.distill.augment import Augment, crop_and_flip, erase, rand_augment, resolve_augment
from edgekd.records import ImageInput

COLOUR = ImageInput(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3)
GREY = ImageInput(channels=1, height=8, width=8, mean=(0.5,), std=(0.5,))


def augment(**changes):
    nothing = {"crop_padding": 0, "flip": False, "erasing": 0.0, "fill": (7, 8, 9)}
    return Augment(**(nothing | {"randaugment": 0, "mix": None} | changes))


def test_auto_flips_and_crops_natural_images_but_not_symbols():
    natural = resolve_augment(AugmentRecipe(), (COLOUR,), num_classes=10, epochs=1)
    symbols = resolve_augment(AugmentRecipe(), (GREY,), num_classes=10, epochs=1)
    assert (natural.crop_padding, natural.flip) == (4, True)
    assert (symbols.crop_padding, symbols.flip) == (0, False)


def test_nothing_asked_leaves_pixels_alone():
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    np.testing.assert_array_equal(
        crop_and_flip(pixels, augment(), np.random.default_rng(0)), pixels
    )


def test_a_flip_mirrors_columns_of_about_half_the_images():
    pixels = np.tile(np.arange(5, dtype=np.uint8)[:, None], (400, 2, 1, 1))
    views = crop_and_flip(pixels, augment(flip=True), np.random.default_rng(0))
    mirrored = (views[:, 0, 0, 0] == 4).sum()
    assert 150 < mirrored < 250
    for view in views:
        row = view[0, :, 0].tolist()
        assert row in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])


def test_a_crop_equals_a_slice_of_the_reflected_image():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, size=(20, 6, 6, 3), dtype=np.uint8)
    views = crop_and_flip(pixels, augment(crop_padding=2), np.random.default_rng(3))
    for image, view in zip(pixels, views, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)), mode="reflect")
        slices = [padded[y : y + 6, x : x + 6] for y in range(5) for x in range(5)]
        assert any(np.array_equal(view, part) for part in slices)


def test_erasing_paints_one_rectangle_of_two_to_forty_per_cent_over_a_share_of_the_images():
    pixels = np.full((1000, 20, 30, 3), 255, dtype=np.uint8)
    views = erase(pixels, augment(erasing=0.3), np.random.default_rng(0))
    erased = (views == (7, 8, 9)).all(axis=-1)
    assert ((views == 255).all(axis=-1) ^ erased).all()
    touched = erased.any(axis=(1, 2))
    assert 250 < touched.sum() < 350
    for one in erased[touched]:
        rows, columns = one.any(axis=1).nonzero()[0], one.any(axis=0).nonzero()[0]
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert one.sum() == height * width  # nothing but one rectangle
        # 2 to 40 % of 600 pixels, up to rounding half a pixel on every side
        assert (height - 0.5) * (width - 0.5) <= 240
        assert (height + 0.5) * (width + 0.5) >= 12
    starts = {tuple(np.argwhere(one)[0]) for one in erased[touched]}
    assert len(starts) > 50  # everywhere


def test_erased_pixels_become_the_mean():
    natural = resolve_augment(AugmentRecipe(erasing=0.5), (COLOUR,), num_classes=2, epochs=1)
    assert natural.fill == (128, 128, 128)  # .5 * 255, rounded to even


def test_nothing_erased_draws_nothing():
    rng, untouched = np.random.default_rng(5), np.random.default_rng(5)
    pixels = np.zeros((2, 4, 4, 3), dtype=np.uint8)
    assert erase(pixels, augment(), rng) is pixels
    assert rng.random() == untouched.random()


def test_randaugment_of_an_image_depends_on_its_own_seed_alone():
    pixels = np.random.default_rng(0).integers(0, 256, size=(6, 16, 16, 3), dtype=np.uint8)
    whole = rand_augment(pixels, 15, seed=100)
    tail = rand_augment(pixels[4:], 15, seed=104)
    np.testing.assert_array_equal(whole[4:], tail)
    assert not np.array_equal(whole, pixels)


@pytest.mark.parametrize("recipe", [AugmentRecipe(mixup=0.2), AugmentRecipe(cutmix=1.0)])
def test_mixing_yields_probabilities_that_sum_to_one(recipe):
    import torch

    mix = resolve_augment(recipe, (COLOUR,), num_classes=4, epochs=1).mix
    torch.manual_seed(0)
    images, targets = mix(torch.rand(8, 3, 8, 8), torch.arange(8) % 4)
    assert images.shape == (8, 3, 8, 8)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(8))
    assert ((targets > 0).sum(dim=1) == 2).any()


def test_the_last_epochs_only_mirror():
    recipe = AugmentRecipe(cutmix=1.0, erasing=0.5, randaugment=9, until=0.8)
    chosen = resolve_augment(recipe, (COLOUR,), num_classes=2, epochs=10)
    assert chosen.at(7) == chosen
    plain = chosen.at(8)  # .8 * 10 epochs are over
    assert (plain.crop_padding, plain.erasing, plain.randaugment, plain.mix) == (0, 0, 0, None)
    assert plain.flip
    always = resolve_augment(AugmentRecipe(), (COLOUR,), num_classes=2, epochs=10)
    assert always.at(9) == always
