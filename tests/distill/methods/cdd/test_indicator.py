import pytest
import torch
from torch import nn

from edgekd.distill.methods.cdd.indicator import (
    IndicatedNorm,
    compression_loss,
    indicated_norms,
    insert_indicators,
    row_lengths,
)
from edgekd.students.blocks import find_sites
from edgekd.students.build import build_student, parse_student


def network(name, **options):
    arch = parse_student(name, options, num_classes=3, in_channels=3, input_size=(16, 16))
    torch.manual_seed(0)
    return build_student(arch)


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet8", {"width": 4}), ("resnet50", {"width": 4}), ("timm:mobilenetv3_small_050", {})],
)
def test_inserting_changes_no_answer(name, options, is_training):
    plain, indicated = network(name, **options), network(name, **options)
    sites = find_sites(indicated)
    insert_indicators(indicated, sites)
    x = torch.randn(4, 3, 16, 16)
    plain.train(is_training)
    indicated.train(is_training)
    torch.manual_seed(1)
    expected = plain(x)
    torch.manual_seed(1)
    torch.testing.assert_close(indicated(x), expected, rtol=0, atol=1e-5)
    assert len(indicated_norms(indicated)) == len(sites)


def test_what_is_pooled_lies_on_both_sides_of_the_indicator():
    part = IndicatedNorm(nn.BatchNorm2d(2), nn.ReLU()).train()
    part.indicator.weight.data = torch.tensor([[0.0, 1.0], [2.0, 0.0]])[:, :, None, None]
    part.norm.bias.data = torch.tensor([0.5, -1.0])
    part(torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)))
    before, after = part.take_pooled()
    torch.testing.assert_close(before.mean(0), torch.tensor([0.5, -1.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(after, before.detach() @ torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
    assert before.requires_grad
    assert not after.requires_grad
    with pytest.raises(RuntimeError, match="no training batch"):
        part.take_pooled()


def test_the_compression_loss_is_the_sum_of_the_row_lengths():
    part = IndicatedNorm(nn.BatchNorm2d(2), nn.Identity())
    part.indicator.weight.data = torch.tensor([[3.0, 4.0], [0.0, 2.0]])[:, :, None, None]
    assert compression_loss([part, part]).item() == pytest.approx(2 * (5 + 2))


def test_a_row_of_zeros_has_no_gradient_and_no_nan():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    row_lengths(rows).sum().backward()
    torch.testing.assert_close(rows.grad, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
