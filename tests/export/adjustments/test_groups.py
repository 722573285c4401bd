import torch
from scaled_networks import IMAGE, TOKENS, Attention, Chain, Gate, NormedLast, Residual, conv, found
from torch import nn

from edgekd.export.prepare import fold_batch_norms


def test_a_depthwise_layer_reads_one_group_and_makes_the_next():
    assert found(Chain()) == [(["0.weight"], ["2.weight"]), (["2.weight"], ["4.weight"])]


def test_a_sum_ties_the_channels_of_both_sides():
    assert found(Residual()) == [
        (["stem.weight", "project.weight"], ["expand.weight", "head.weight"]),
        (["expand.weight"], ["project.weight"]),
    ]


def test_a_gate_multiplies_scaled_channels():
    assert found(Gate()) == [
        (["first.weight"], ["reduce.weight", "second.weight"]),
        (["reduce.weight"], ["restore.weight"]),
    ]


def test_a_normalisation_makes_what_linear_layers_read():
    assert found(Attention(), TOKENS) == [
        (["norm.weight"], ["q.weight", "k.weight", "v.weight"]),
        (["second_norm.weight"], ["up.weight"]),
    ]


def test_a_norm_that_more_than_linear_layers_read_is_left_alone():
    assert found(NormedLast(), TOKENS) == [(["up.weight"], ["down.weight"])]


def test_a_norm_without_affine_part_has_no_place_for_factors():
    network = nn.Sequential(nn.LayerNorm(6, elementwise_affine=False), nn.Linear(6, 2))
    assert found(network, TOKENS) == []


def test_blocks_of_timm_with_folded_norms():
    from timm.models._efficientnet_blocks import InvertedResidual

    network = nn.Sequential(
        conv(3, 8), InvertedResidual(8, 8, exp_ratio=2.0), InvertedResidual(8, 12), conv(12, 4, 1)
    ).eval()
    fold_batch_norms(network, [torch.zeros(IMAGE)])
    assert found(network) == [
        (["0.weight", "1.conv_pwl.weight"], ["1.conv_pw.weight", "2.conv_pw.weight"]),
        (["1.conv_pw.weight"], ["1.conv_dw.weight"]),
        (["1.conv_dw.weight"], ["1.conv_pwl.weight"]),
        (["2.conv_pw.weight"], ["2.conv_dw.weight"]),
        (["2.conv_dw.weight"], ["2.conv_pwl.weight"]),
        (["2.conv_pwl.weight"], ["3.weight"]),
    ]


def test_a_transformer_block_of_timm():
    from timm.models.vision_transformer import Block

    assert found(nn.Sequential(Block(6, 2)), TOKENS) == [
        (["0.norm1.weight"], ["0.attn.qkv.weight"]),
        (["0.norm2.weight"], ["0.mlp.fc1.weight"]),
    ]
