from pathlib import Path

import pytest
import safetensors.torch
import torch

from edgekd.errors import BundleError, ModelError
from edgekd.students.timm_weights import Ends, ends_of


def saved(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    safetensors.torch.save_file(tensors, path)
    return path


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        # resnet18 calls its ends conv1 and fc
        ({"conv1.weight": (64, 1, 7, 7), "fc.weight": (7, 512)}, (7, 1)),
        ({"conv1.weight": (64, 4, 7, 7)}, (None, 4)),
        ({"fc.weight": (7, 512), "fc.bias": (7,)}, (7, 3)),
    ],
)
def test_shapes_tell_classes_and_channels(tmp_path, shapes, expected):
    path = saved(tmp_path / "w.safetensors", shapes)
    classes, channels = expected
    assert ends_of("resnet18", path) == Ends(num_classes=classes, in_channels=channels)


def test_of_two_classifiers_the_first_tells(tmp_path):
    """A distilled transformer has a second one for its teacher's answers."""
    shapes = {"head.weight": (9, 192), "head_dist.weight": (8, 192)}
    path = saved(tmp_path / "w.safetensors", shapes)
    assert ends_of("deit_tiny_distilled_patch16_224", path).num_classes == 9


def test_what_is_no_weights_file_or_no_name_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match="not a safetensors file"):
        ends_of("resnet18", tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="no timm architecture of this name"):
        ends_of("timm:nonsense", tmp_path / "w.safetensors")
