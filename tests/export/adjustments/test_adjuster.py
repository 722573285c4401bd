import numpy as np
import torch
from torch import nn

from edgekd.export.adjustments.adjuster import Adjuster, proposing_rows
from edgekd.export.adjustments.apply import adjusted
from edgekd.export.adjustments.record import AS_IT_IS
from edgekd.export.quantization.candidates import error_rows


def network():
    """A convolution chain and a normalisation with a linear layer, each with uneven channels."""
    torch.manual_seed(0)
    found = nn.Sequential(
        nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 6, 1),
        nn.Flatten(2), nn.LayerNorm(16), nn.Linear(16, 4),
    ).eval().requires_grad_(False)  # fmt: skip
    found[0].weight[2] *= 80
    found[2].weight[:, 2] /= 80
    found[4].weight[5] = 64
    return found


def samples(count=4):
    return [np.random.default_rng(1).standard_normal((count, 3, 4, 4), np.float32)]


def test_kinds_are_proposed_on_top_of_each_other():
    made = network()
    adjuster = Adjuster(made, samples())
    first = adjuster.propose("equalization", AS_IT_IS)
    assert [scaling.kind for scaling in first.scalings] == ["equalization"]
    second = adjuster.propose("smoothing", first)
    assert [scaling.kind for scaling in second.scalings] == ["equalization", "smoothing"]
    third = adjuster.propose("bias correction", second)
    assert third.scalings == second.scalings
    assert [shift.parameter for shift in third.shifts] == ["0.bias", "2.bias", "5.bias"]
    x = torch.from_numpy(samples()[0])
    right = made(x)
    torch.testing.assert_close(adjusted(made, second)(x), right, rtol=1e-4, atol=1e-4)
    assert made[4].weight[5] == 64  # the network itself stays as it is


def test_shifts_are_those_of_the_network_as_adjusted():
    adjuster = Adjuster(network(), samples())
    scaled = adjuster.propose("equalization", AS_IT_IS)
    plain = adjuster.propose("bias correction", AS_IT_IS)
    assert plain.shifts != adjuster.propose("bias correction", scaled).shifts


def test_a_kind_without_a_place_is_not_proposed():
    alone = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False)).eval()
    adjuster = Adjuster(alone, samples())
    for kind in ("equalization", "smoothing", "bias correction"):
        assert adjuster.propose(kind, AS_IT_IS) is None


def test_what_proposes_does_not_judge_where_there_is_enough():
    rows = proposing_rows(256)
    assert len(rows) == 32
    assert not np.isin(rows, error_rows(256)).any()
    assert proposing_rows(25).tolist() == np.setdiff1d(np.arange(25), error_rows(25)).tolist()
    assert proposing_rows(1).tolist() == [0]
