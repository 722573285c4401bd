import torch

from edgekd.students.answers import as_tokens, channels_of, pooled

MAP = torch.arange(24.0).reshape(1, 2, 3, 4)  # channel means of 0..11 and 12..23
TOKENS = MAP.flatten(2).transpose(1, 2)
VECTOR = torch.tensor([[7.0, 8.0]])


def test_maps_and_tokens_have_a_mean_and_a_vector_is_its_own():
    assert pooled(MAP).tolist() == pooled(TOKENS).tolist() == [[5.5, 17.5]]
    assert pooled(VECTOR).tolist() == [[7.0, 8.0]]


def test_every_position_is_a_token():
    assert as_tokens(MAP)[0, 5].tolist() == [5.0, 17.0]  # row 1, column 1
    assert torch.equal(as_tokens(MAP), TOKENS)
    assert as_tokens(TOKENS) is TOKENS
    assert as_tokens(VECTOR).tolist() == [[[7.0, 8.0]]]


def test_channels_of_maps_tokens_and_vectors():
    assert [channels_of(tuple(x.shape[1:])) for x in (MAP, TOKENS, VECTOR)] == [2, 2, 2]
