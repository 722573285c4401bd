import pytest
import torch

from edgekd.distill.methods.lsskd.transforms import FAMILIES, choose_transformations
from edgekd.errors import ConfigError
from edgekd.records import ImageInput, SignalInput

COLOUR = ImageInput(channels=3, height=4, width=4, mean=(0.0,) * 3, std=(1.0,) * 3)
GREY = ImageInput(channels=1, height=4, width=6, mean=(0.0,), std=(1.0,))
ACC = SignalInput(name="acc", channels=2, length=8, mean=(0.0,) * 2, std=(1.0,) * 2)


def views(names, spec, x):
    transformations, _ = choose_transformations(names, (spec,))
    (found,) = transformations.all_views((x,))
    return found.view(transformations.count, *x.shape)


def test_four_quarter_turns_bring_the_image_back():
    x = torch.arange(3 * 16.0).view(1, 3, 4, 4)
    found = views(("rotate",), COLOUR, x)
    assert torch.equal(found[0], x)
    assert torch.equal(torch.rot90(found[3], 1, dims=(2, 3)), x)
    assert torch.equal(found[2], x.flip(2, 3))


def test_colours_are_all_six_orders():
    x = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    found = views(("colour",), COLOUR, x)
    orders = {tuple(view[0, :, 0, 0].tolist()) for view in found}
    assert len(found) == len(orders) == 6
    assert all(sorted(order) == [1.0, 2.0, 3.0] for order in orders)


def test_patches_put_every_quadrant_everywhere():
    x = torch.zeros(1, 1, 4, 6)
    x[..., :2, :3] = 1
    found = views(("patches",), GREY, x)
    assert torch.equal(found.sum(dim=0), torch.ones(1, 1, 4, 6))


def test_signals_by_hand():
    x = torch.arange(8.0).view(1, 1, 8).expand(1, 2, 8)
    found = views("auto", ACC, x)
    assert len(found) == 5
    assert found[1][0, 0].tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    assert torch.equal(found[2], -x)
    assert found[3][0, 0].tolist() == [4, 5, 0, 1, 6, 7, 2, 3]
    assert torch.equal(found[4], x / 2)


def test_a_window_that_four_does_not_divide_keeps_all_its_steps():
    x = torch.arange(125.0).view(1, 1, 125)
    (permute,) = FAMILIES["permute"].others
    assert sorted(permute(x).flatten().tolist()) == x.flatten().tolist()


def test_image_and_sensor_are_changed_together():
    transformations, names = choose_transformations("auto", (COLOUR, ACC))
    assert names == ("rotate", "reverse", "negate", "permute", "scale")
    assert transformations.count == 4
    image, window = torch.rand(2, 3, 4, 4), torch.rand(2, 2, 8)
    found = transformations.all_views((image, window))
    assert torch.equal(found[0][:2], image)
    assert torch.equal(found[0][2:4], torch.rot90(image, 1, dims=(2, 3)))
    assert torch.equal(found[1][2:4], window.flip(2))


def test_grey_or_oblong_images_are_not_rotated_by_themselves():
    assert choose_transformations("auto", (GREY,))[1] == ("patches",)


@pytest.mark.parametrize(
    ("names", "spec", "message"),
    [
        (("rotate",), ACC, "no upright.*reverse, negate, permute, scale"),
        (("reverse",), COLOUR, "kind signal, the data have image"),
        (("rotate",), GREY, "needs square images, these are 4x6"),
        (("colour",), GREY, "these images are grey"),
        ((), ACC, "as they are; add one of reverse"),
    ],
)
def test_what_does_not_suit_the_data_is_refused(names, spec, message):
    with pytest.raises(ConfigError, match=message):
        choose_transformations(names, (spec,))
