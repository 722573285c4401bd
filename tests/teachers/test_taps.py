import pytest
import timm
import torch
from torch import nn

from edgekd.students.build import build_student, parse_student
from edgekd.teachers.taps import (
    attention_layers,
    feature_reader,
    is_self_attention,
    reading_attention,
)


@torch.no_grad()
def test_our_stages_are_the_features() -> None:
    arch = parse_student("resnet8", {}, num_classes=5, in_channels=3, input_size=(16, 16))
    module = build_student(arch).eval()
    read = feature_reader(module)
    assert read is not None
    x = torch.rand(2, 3, 16, 16)
    logits, features = read(x)
    assert torch.equal(logits, module(x))
    assert [tuple(f.shape) for f in features] == [(2, 16, 16, 16), (2, 32, 8, 8), (2, 64, 4, 4)]
    pooled = features[-1].mean(dim=(2, 3))
    assert torch.allclose(module.fc(pooled), logits, atol=1e-6)
    assert not any(part._forward_hooks for part in module.modules())


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "options", "num_features"),
    [
        ("resnet18", {}, 5),  # stem and four stages
        ("mobilenetv3_small_050", {}, 5),
        ("vit_tiny_patch16_224", {"img_size": 32, "depth": 3}, 3),  # blocks
        ("convnext_atto", {}, 4),
    ],
)
def test_timm_features_leave_the_logits_as_they_are(
    name: str, options: dict[str, int], num_features: int
) -> None:
    module = timm.create_model(name, num_classes=5, **options).eval()
    read = feature_reader(module)
    assert read is not None
    x = torch.rand(2, 3, 32, 32)
    logits, features = read(x)
    assert torch.allclose(logits, module(x), atol=1e-6)
    assert len(features) == num_features
    assert all(f.dim() == 4 and len(f) == 2 for f in features)


def test_a_plain_sequence_has_no_features() -> None:
    assert feature_reader(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))) is None


@torch.no_grad()
def test_attention_rows_are_distributions_and_the_logits_stay() -> None:
    module = timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=32, depth=2).eval()
    x = torch.rand(2, 3, 32, 32)
    fused = module(x)
    layers = attention_layers(module)
    with reading_attention(layers) as weights:
        open_ = module(x)
    assert torch.allclose(fused, open_, atol=1e-5)
    # 2 x 2 patches and the class token; 3 heads
    assert [tuple(w.shape) for w in weights] == [(2, 3, 5, 5)] * 2
    assert is_self_attention(weights, batch_size=2)
    block = module.blocks[0]
    tokens = module.norm_pre(module.patch_drop(module._pos_embed(module.patch_embed(x))))
    qkv = block.attn.qkv(block.norm1(tokens)).reshape(2, 5, 3, 3, 64)
    query, key = qkv[:, :, 0].transpose(1, 2), qkv[:, :, 1].transpose(1, 2)
    expected = (query @ key.transpose(-2, -1) / 64**0.5).softmax(-1)
    assert torch.allclose(weights[0], expected, atol=1e-5)


def test_windows_and_channel_weights_are_not_maps_over_the_image() -> None:
    rows = torch.full((8, 2, 4, 4), 0.25)
    assert is_self_attention([rows], batch_size=8)
    assert not is_self_attention([rows], batch_size=2)  # four windows per image
    assert not is_self_attention([rows * 2], batch_size=8)
    assert not is_self_attention([], batch_size=8)
