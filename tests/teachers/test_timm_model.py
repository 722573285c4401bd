from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from edgekd.bundle import sha256_of
from edgekd.errors import BundleError, ModelError
from edgekd.teachers.protocol import Teacher

Opened = Callable[..., Teacher]
NAME = "mobilenetv3_small_050"


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., Path]:
    def save(name: str = NAME, **arguments: int) -> Path:
        torch.manual_seed(0)
        module = timm.create_model(name, **({"num_classes": 5} | arguments))
        path = tmp_path / "weights.safetensors"
        safetensors.torch.save_file(module.state_dict(), path)
        return path

    return save


@torch.no_grad()
def test_local_weights_behind_timms_own_preprocessing(
    weights: Callable[..., Path], opened: Opened
) -> None:
    path = weights()
    teacher = opened(f"timm:{NAME}@{path}")
    module = timm.create_model(NAME, num_classes=5).eval()
    module.load_state_dict(safetensors.torch.load_file(path))
    view = torch.rand(2, 3, 224, 224)  # timm's own size: nothing is resized
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    assert torch.allclose(teacher(view).logits, module((view - mean) / std), atol=1e-4)
    assert teacher(torch.rand(2, 3, 16, 16)).logits.shape == (2, 5)
    assert teacher.ref.sha256 == sha256_of(path)
    assert teacher.ref.num_params == sum(p.numel() for p in module.parameters())
    assert teacher.ref.macs is not None


def test_weights_for_grey_images(weights: Callable[..., Path], opened: Opened) -> None:
    teacher = opened(f"timm:{NAME}@{weights(in_chans=1)}")
    assert teacher(torch.rand(2, 3, 16, 16)).logits.shape == (2, 5)


def test_attention_of_a_transformer(weights: Callable[..., Path], opened: Opened) -> None:
    path = weights("vit_tiny_patch16_224")
    needs = frozenset({"logits", "attention"})
    output = opened(f"timm:vit_tiny_patch16_224@{path}", needs=needs)(torch.rand(1, 3, 16, 16))
    assert [tuple(a.shape) for a in output.attention] == [(1, 3, 197, 197)] * 12


def test_a_head_for_other_classes(weights: Callable[..., Path], opened: Opened) -> None:
    with pytest.raises(ModelError, match=r"answers 7 classes, the data has 5;.*edgekd teach"):
        opened(f"timm:{NAME}@{weights(num_classes=7)}")


def test_published_weights_of_other_classes_are_refused_before_a_download(opened: Opened) -> None:
    with pytest.raises(ModelError, match="answers 1000 classes, the data has 5"):
        opened(f"timm:{NAME}", pretrained=True)


def test_no_weights_at_all(opened: Opened) -> None:
    with pytest.raises(ModelError, match="untrained, it has nothing to teach"):
        opened(f"timm:{NAME}")


def test_weights_of_another_architecture(weights: Callable[..., Path], opened: Opened) -> None:
    with pytest.raises(ModelError, match="does not fit the architecture"):
        opened(f"timm:mobilenetv3_small_100@{weights()}")


def test_a_pickle_by_any_name(
    opened: Opened, tmp_path: Path, bomb: Path, bomb_bytes: bytes
) -> None:
    for suffix, error in ((".safetensors", BundleError), (".pth", ModelError), (".x", BundleError)):
        path = tmp_path / f"weights{suffix}"
        path.write_bytes(bomb_bytes)
        with pytest.raises(error):
            opened(f"timm:{NAME}@{path}")
    assert not bomb.exists()


def test_an_unknown_name(opened: Opened) -> None:
    with pytest.raises(ModelError, match="did you mean resnet18"):
        opened("timm:resnet19")
