import pytest
import torch

from edgekd.distill.methods.lsskd.transforms import FAMILIES, choose_transformations
from edgekd.errors import ConfigError
from edgekd.records import ImageInput, SignalInput

COLOUR = ImageInput(channels=3, height=4, width=4, mean=(0.0,) * 3, std=(1.0,) * 3)
GREY = ImageInput(channels=1, height=4, width=6, mean=(0.0,), std=(1.0,))
ACC = SignalInput(name="acc", channels=2, length=8, mean=(0.0,) * 2, std=(1.0,) * 2)


def signal(length):
    return ACC.model_copy(update={"length": length})


def views(names, spec, x):
    transformations = choose_transformations(names, (spec,))
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


@pytest.mark.parametrize(
    ("length", "names"),
    [
        (1, ("negate", "scale")),
        (2, ("reverse", "negate", "scale")),
        (3, ("reverse", "negate", "permute", "scale")),
    ],
)
def test_no_two_views_of_a_short_window_are_the_same(length, names):
    transformations = choose_transformations("auto", (signal(length),))
    assert transformations.names == {"signal": names}
    x = torch.arange(1.0, 1 + 2 * length).view(1, 2, length)
    (found,) = transformations.all_views((x,))
    assert len({tuple(view.flatten().tolist()) for view in found}) == 1 + len(names)


def test_the_shortest_window_decides_for_all_sensors():
    """A vector beside a window has branches of its own, which must see what was done to it."""
    assert choose_transformations("auto", (ACC, signal(1))).names == {"signal": ("negate", "scale")}


def test_image_and_sensor_are_changed_together():
    transformations = choose_transformations("auto", (COLOUR, ACC))
    assert transformations.names == {
        "image": ("rotate", "rotate", "rotate"),
        "signal": ("reverse", "negate", "permute"),  # the fourth has no partner
    }
    assert transformations.described() == "image rotate; signal reverse, negate, permute"
    assert transformations.count == 4
    image, window = torch.rand(2, 3, 4, 4), torch.rand(2, 2, 8)
    found = transformations.all_views((image, window))
    assert torch.equal(found[0][:2], image)
    assert torch.equal(found[0][2:4], torch.rot90(image, 1, dims=(2, 3)))
    assert torch.equal(found[1][2:4], window.flip(2))


def test_what_is_used_of_a_name_in_part_is_said():
    transformations = choose_transformations("auto", (COLOUR, signal(1)))
    assert transformations.count == 3
    assert transformations.described() == "image rotate (2 of 3); signal negate, scale"


def test_grey_or_oblong_images_are_not_rotated_by_themselves():
    assert choose_transformations("auto", (GREY,)).names == {"image": ("patches",) * 3}


@pytest.mark.parametrize(
    ("names", "spec", "message"),
    [
        (("rotate",), ACC, "no upright.*reverse, negate, permute, scale"),
        (("reverse",), COLOUR, "kind signal, the data have image"),
        (("rotate",), GREY, "needs square images, these are 4x6"),
        (("colour",), GREY, "these images are grey"),
        ((), ACC, "as they are; add one of reverse"),
        (("reverse",), signal(1), "'reverse' needs a length of 2, 'acc' has 1"),
        (("permute",), signal(1), "'permute' needs a length of 3, 'acc' has 1"),
        (("negate", "permute"), signal(2), "'permute' needs a length of 3, 'acc' has 2"),
    ],
)
def test_what_does_not_suit_the_data_is_refused(names, spec, message):
    with pytest.raises(ConfigError, match=message):
        choose_transformations(names, (spec,))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("rotate", "reverse"), "kind image in 3 ways, of kind signal in 1"),
        (("colour", "reverse", "negate", "permute", "scale"), "image in 5 ways, of kind signal in"),
        (("rotate",), "leaves inputs of kind signal as they are; add one of reverse"),
    ],
)
def test_a_list_that_would_be_cut_is_refused(names, message):
    with pytest.raises(ConfigError, match=message):
        choose_transformations(names, (COLOUR, ACC))


def test_a_list_with_as_many_for_each_kind_is_taken_whole():
    transformations = choose_transformations(("patches", "scale", "negate", "reverse"), (GREY, ACC))
    assert transformations.names["signal"] == ("scale", "negate", "reverse")
    assert transformations.count == 4
