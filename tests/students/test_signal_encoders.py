import pytest
import torch

from edgekd.students.signal_encoders import ConvEncoder, TransformerEncoder, attention


@pytest.mark.parametrize("encoder", [ConvEncoder, TransformerEncoder])
@pytest.mark.parametrize("length", [1, 2, 3, 7, 125, 1000])
def test_any_length(encoder, length):
    module = encoder(3, length, 4)
    answer = module(torch.randn(2, 3, length))
    channels = answer.shape[1] if answer.ndim == 4 else answer.shape[2]
    assert channels == module.num_features
    assert answer.shape[0] == 2


def test_convolutions_halve_the_time_three_times():
    assert ConvEncoder(3, 125, 4)(torch.randn(1, 3, 125)).shape == (1, 16, 1, 16)


def test_a_transformer_reads_whole_patches_and_leaves_the_rest_out():
    torch.manual_seed(0)
    module = TransformerEncoder(3, 125, 4)  # 17 patches of 7 are 119 steps
    x = torch.randn(1, 3, 125)
    rest, last = x.clone(), x.clone()
    rest[..., 119:] += 1
    last[..., 118] += 1
    assert module(x).shape == (1, 17, 12)
    assert torch.equal(module(rest), module(x))
    assert not torch.equal(module(last), module(x))


def test_attention_by_hand():
    query = torch.zeros(1, 1, 4)
    value = torch.tensor([[[1.0, 2.0], [3.0, 6.0]]])
    assert attention(query, torch.randn(1, 2, 4), value).tolist() == [[[2.0, 4.0]]]


def test_attention_is_torchs_own():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 5, 4) for _ in range(3))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attention(q, k, v), expected)
