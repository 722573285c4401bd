import numpy as np
import pytest
import torch

from edgekd.export.quantization.onnx_types import TYPES
from edgekd.students.fake_quantization import fake_quantize, fake_quantize_weights


def scalar(value):
    return torch.tensor(value, requires_grad=True)


def test_two_bits_by_hand():
    # range [-1, 2] in 3 steps: step 1, zero 1, so the levels are -1, 0, 1, 2; halves go to even
    x = torch.tensor([-3.0, -1.2, -0.4, 0.5, 1.49, 1.5, 9.0])
    found = fake_quantize(x, scalar(-1.0), scalar(2.0), bits=2)
    assert found.tolist() == [-1, -1, 0, 0, 1, 2, 2]


def test_eight_bits_against_the_formula_of_the_files():
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32) * 2
    low, high = -1.7, 4.1
    scale, zero = TYPES["x86"].activation((low, high))
    level = np.clip(np.rint(x / scale) + int(zero), 0, 255)
    expected = (level - int(zero)) * scale
    found = fake_quantize(torch.from_numpy(x), scalar(low), scalar(high)).detach().numpy()
    # a value on the border of two levels may fall to either side
    different = np.abs(found - expected) > 1e-5
    assert different.mean() < 0.005
    assert np.abs(found - expected).max() < 1.01 * scale


@pytest.mark.parametrize(("low", "high"), [(0.5, 3.0), (-3.0, -0.5)])
def test_zero_is_always_exact(low, high):
    assert fake_quantize(torch.zeros(1), scalar(low), scalar(high)).item() == 0.0


def test_a_range_without_width_is_no_division_by_zero():
    assert fake_quantize(torch.zeros(3), scalar(0.0), scalar(0.0)).tolist() == [0, 0, 0]


def test_the_gradient_passes_inside_and_stops_outside():
    x = torch.tensor([-3.0, -0.9, 0.3, 1.9, 9.0], requires_grad=True)
    fake_quantize(x, scalar(-1.0), scalar(2.0), bits=2).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def test_limits_get_the_gradient_of_what_they_clip_and_of_the_step():
    low, high = scalar(-1.0), scalar(2.0)
    x = torch.tensor([-3.0, 0.25, 9.0])
    weights = torch.tensor([5.0, 6.0, 7.0])
    (fake_quantize(x, low, high, bits=2) * weights).sum().backward()
    # clipped below: 5 to low; above: 7 to high; 0.25 is rounded down by 0.25 of a step, of which
    # the range has 3: 6 * -0.25 / 3 = -0.5 to high, +0.5 to low
    assert (low.grad.item(), high.grad.item()) == pytest.approx((5.5, 6.5))


def test_the_limit_at_zero_is_not_pulled_inside():
    low = scalar(0.5)  # widened to 0
    fake_quantize(torch.tensor([-1.0]), low, scalar(2.0)).sum().backward()
    assert low.grad.item() == 0.0


def test_weights_by_hand():
    # 3 bits: -3..3; scales 1 and 0.5 for the two channels
    weights = torch.tensor([[3.0, -1.4], [0.2, -1.5]], requires_grad=True)
    found = fake_quantize_weights(weights, axis=0, bits=3)
    torch.testing.assert_close(found, torch.tensor([[3.0, -1.0], [0.0, -1.5]]))
    (found * torch.tensor([[1.0, 2.0], [3.0, 4.0]])).sum().backward()
    assert weights.grad.tolist() == [[1, 2], [3, 4]]


def test_the_axis_of_weights_is_that_of_the_scales():
    weights = torch.tensor([[3.0, 0.2], [-1.4, -1.5]])
    found = fake_quantize_weights(weights, axis=-1, bits=3)
    torch.testing.assert_close(found, torch.tensor([[3.0, 0.0], [-1.0, -1.5]]))


def test_a_channel_of_zeros_stays_one():
    assert fake_quantize_weights(torch.zeros(2, 3), axis=0).tolist() == [[0, 0, 0], [0, 0, 0]]
