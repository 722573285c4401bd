from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.bundle import WEIGHTS_FILE
from edgekd.errors import BundleError, ModelError
from edgekd.teachers.protocol import Teacher

Opened = Callable[..., Teacher]
Bundle = tuple[Path, nn.Module]


@torch.no_grad()
def test_answers_like_its_network(
    bundle: Bundle, opened: Opened, view: torch.Tensor, normalised: torch.Tensor
) -> None:
    folder, module = bundle
    teacher = opened(folder)
    assert torch.allclose(teacher(view).logits, module(normalised), atol=1e-5)
    assert (teacher.ref.kind, teacher.ref.num_params, teacher.ref.macs) == ("bundle", 123, 456)
    assert teacher.ref.sha256 is not None
    assert teacher.num_classes == 5
    assert teacher(view).features == ()


@torch.no_grad()
def test_features_are_computed_where_a_method_needs_them(
    bundle: Bundle, opened: Opened, view: torch.Tensor
) -> None:
    output = opened(bundle[0], needs=frozenset({"logits", "features"}))(view)
    assert [f.shape[1] for f in output.features] == [4, 8, 16]


def test_labels_in_another_order(bundle: Bundle, opened: Opened) -> None:
    with pytest.raises(ModelError, match="its class 0 is 'ant', the data's is 'bee'"):
        opened(bundle[0], class_names=("bee", "ant", "cat", "dog", "eel"))


def test_another_number_of_labels(bundle: Bundle, opened: Opened) -> None:
    with pytest.raises(ModelError, match="answers 5 classes, the data has 2"):
        opened(bundle[0], class_names=("ant", "bee"))


def test_a_damaged_bundle(bundle: Bundle, opened: Opened) -> None:
    weights = bundle[0] / WEIGHTS_FILE
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(BundleError, match="truncated or altered"):
        opened(bundle[0])


def test_attention_is_refused_before_training(bundle: Bundle, opened: Opened) -> None:
    with pytest.raises(ModelError, match=r"gives features, logits, .* also needs attention"):
        opened(bundle[0], needs=frozenset({"logits", "attention"}))
