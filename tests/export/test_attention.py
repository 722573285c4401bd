import pytest
import torch
from timm.models.vision_transformer import Attention
from torch import nn

from edgekd.export.attention import PlainAttention, take_attention_apart

TOKENS, WIDTH, HEADS = 7, 24, 3  # 8 values per head: its scale is no power of two


def attention(**options):
    torch.manual_seed(0)
    made = Attention(WIDTH, num_heads=HEADS, norm_layer=nn.LayerNorm, **options)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made.double().eval().requires_grad_(False)


def tokens(batch=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, TOKENS, WIDTH, generator=generator, dtype=torch.float64)


MASK = torch.tril(torch.ones(TOKENS, TOKENS)).bool()


@pytest.mark.parametrize("options", [{}, {"qkv_bias": True}, {"qk_norm": True}])
@pytest.mark.parametrize(
    "asked", [{}, {"attn_mask": MASK}, {"attn_mask": -2.0 * MASK}, {"is_causal": True}]
)
def test_it_answers_what_timm_answers(options, asked):
    timm, x = attention(**options), tokens()
    torch.testing.assert_close(PlainAttention(timm)(x, **asked), timm(x, **asked))


@pytest.mark.parametrize("option", ["scale_norm", "gated"])
def test_what_newer_versions_add_is_kept(option):
    try:
        timm = attention(**{option: True})
    except TypeError:
        pytest.skip(f"this timm has no {option}")
    torch.testing.assert_close(PlainAttention(timm)(tokens()), timm(tokens()))


def largest_rank(module):
    program = torch.export.export(module, (tokens(),)).run_decompositions({})
    values = [node.meta.get("val") for node in program.graph.nodes]
    return max(value.dim() for value in values if isinstance(value, torch.Tensor))


def test_no_tensor_has_five_axes_any_more():
    timm = attention()
    assert largest_rank(timm) == 5
    assert largest_rank(PlainAttention(timm)) == 4


class Twice(nn.Module):
    """One attention in two places, and something else that has a ``qkv``."""

    def __init__(self):
        super().__init__()
        self.first = self.second = attention()
        self.other = nn.ModuleDict({"qkv": nn.Linear(WIDTH, WIDTH).double()})

    def forward(self, x):
        return self.second(self.other["qkv"](self.first(x)))


def test_every_attention_of_a_network_is_replaced_and_nothing_else():
    network, x = Twice().eval(), tokens()
    expected, other = network(x), network.other
    assert take_attention_apart(network) == 1
    assert network.first is network.second
    assert isinstance(network.first, PlainAttention)
    assert network.other is other
    torch.testing.assert_close(network(x), expected)


def test_a_network_without_attention_stays_as_it_is():
    network = nn.Sequential(nn.Linear(3, 9))
    assert take_attention_apart(network) == 0


def test_weights_of_timm_stay_as_they_are():
    timm = attention(qkv_bias=True)
    before = {name: value.clone() for name, value in timm.state_dict().items()}
    PlainAttention(timm)
    for name, value in timm.state_dict().items():
        assert torch.equal(value, before[name])
