import numpy as np
import pytest

from edgekd.export.movement import Movement


def followed(shape, chain):
    """The movement of a chain, and what NumPy makes of counted values with it."""
    moved, values = Movement(shape), np.arange(int(np.prod(shape))).reshape(shape)
    for kind, argument in chain:
        if kind == "transpose":
            moved.transpose(argument)
            values = values.transpose(argument)
        else:
            assert moved.reshape(argument)
            values = values.reshape(argument)
    return moved, values


def replayed(shape, steps, end):
    values = np.arange(int(np.prod(shape))).reshape(shape)
    for sizes, axes in steps:
        assert len(sizes) <= 4
        values = values.reshape(sizes).transpose(axes)
    return values.reshape(end)


# patches of 2 x 2 of an image of 8 x 6 with 5 channels, behind a convolution with channels last
PATCHES = [
    ("transpose", (0, 3, 1, 2)), ("reshape", (5 * 4, 2, 3, 2)), ("transpose", (0, 2, 1, 3)),
    ("reshape", (1, 5, 12, 4)), ("transpose", (0, 3, 2, 1)), ("reshape", (4, 12, 5)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "chain", "transposes"),
    [
        ((1, 8, 6, 5), PATCHES, 2),
        ((1, 7, 3 * 4 * 2), [("reshape", (1, 7, 3, 4, 2)), ("transpose", (2, 0, 3, 1, 4))], 1),
        ((1, 6, 4), [("reshape", (1, 6, 2, 2)), ("transpose", (0, 2, 1, 3))], 1),
        ((2, 3, 4), [("transpose", (0, 2, 1)), ("transpose", (0, 2, 1))], 0),
        ((2, 3, 4), [("transpose", (2, 0, 1)), ("transpose", (1, 0, 2))], 1),
        ((2, 3, 4), [("reshape", (6, 4)), ("reshape", (1, 24))], 0),
        ((4, 1, 5), [("transpose", (1, 0, 2))], 0),  # an axis of one moves nothing
        ((2, 3, 2, 3, 2), [("transpose", (4, 3, 2, 1, 0))], 2),
    ],
)
def test_as_few_transposes_as_there_can_be_do_the_same(shape, chain, transposes):
    moved, expected = followed(shape, chain)
    steps = moved.steps()
    assert len(steps) == transposes
    np.testing.assert_array_equal(replayed(shape, steps, expected.shape), expected)


def random_chain(seed):
    """A shape, and transposes and reshapes of which none mixes parts of axes."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.choice([1, 2, 3, 4], size=rng.integers(2, 5)))
    chain, now, moved = [], shape, Movement(shape)
    for _ in range(rng.integers(1, 6)):
        axes = tuple(int(axis) for axis in rng.permutation(len(now)))
        now = tuple(now[axis] for axis in axes)
        chain.append(("transpose", axes))
        moved.transpose(axes)
        at = int(rng.integers(0, len(now)))
        halves, other = now[at] == 4 and rng.random() < 0.5, now
        if halves:
            other = (*now[:at], 2, 2, *now[at + 1 :])
        elif at:
            other = (*now[: at - 1], now[at - 1] * now[at], *now[at + 1 :])
        if moved.reshape(other):  # one that mixes is refused, and changes nothing
            now = other
            chain.append(("reshape", now))
    return shape, chain


def test_any_chain_is_replayed_exactly():
    replays = 0
    for seed in range(40):
        shape, chain = random_chain(seed)
        moved, expected = followed(shape, chain)
        steps = moved.steps()
        if steps is not None:
            np.testing.assert_array_equal(replayed(shape, steps, expected.shape), expected)
            replays += 1
    assert replays > 30  # few chains have so many parts that they are left alone


def test_parts_of_axes_are_not_mixed():
    moved = Movement((2, 3))
    moved.transpose((1, 0))
    assert not moved.reshape((2, 3))  # rows of two values, cut from columns of three


def test_an_order_of_too_many_parts_is_left_alone():
    moved = Movement((2,) * 7)
    moved.transpose(tuple(reversed(range(7))))
    assert moved.steps() is None
