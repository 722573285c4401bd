import pytest
import torch

from edgekd.students.fusion import CrossAttention, LateFusion

WIDTHS = (3, 5, 2)
ENCODED = (torch.randn(4, 3, 1, 7), torch.randn(4, 6, 5), torch.randn(4, 2))


@pytest.mark.parametrize("kind", [LateFusion, CrossAttention])
def test_maps_tokens_and_vectors_meet(kind):
    assert kind(WIDTHS, 8)(*ENCODED).shape == (4, 8)


def test_late_fusion_pools_and_puts_side_by_side():
    fusion = LateFusion((2, 1), 3)
    torch.nn.init.eye_(fusion.hidden[0].weight)
    torch.nn.init.zeros_(fusion.hidden[0].bias)
    found = fusion(torch.tensor([[[[1.0, 3.0]], [[-4.0, 0.0]]]]), torch.tensor([[5.0]]))
    assert found.tolist() == [[2.0, 0.0, 5.0]]  # -2 before the ReLU


def test_positions_have_no_order_for_cross_attention():
    fusion = CrossAttention((3,), 8).eval()
    tokens = torch.randn(2, 9, 3)
    torch.testing.assert_close(fusion(tokens), fusion(tokens.flip(1)))
