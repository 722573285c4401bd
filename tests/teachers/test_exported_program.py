from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgekd.bundle import sha256_of
from edgekd.errors import BundleError, ModelError
from edgekd.teachers.protocol import Teacher

Opened = Callable[..., Teacher]
Program = Callable[..., Path]
Network = Callable[..., nn.Sequential]


@torch.no_grad()
@pytest.mark.parametrize("batch", [None, 2])
def test_answers_like_the_network_that_was_exported(
    batch: int | None,
    program: Program,
    network: Network,
    opened: Opened,
    view: Tensor,
    normalised: Tensor,
) -> None:
    path = program(network(), batch=batch)
    teacher = opened(path)
    assert torch.allclose(teacher(view).logits, network()(normalised), atol=1e-5)
    assert (teacher.ref.kind, teacher.ref.sha256) == ("torch-export", sha256_of(path))
    # conv 3 * 4 * 9 + 4, linear 4 * 5 + 5
    assert teacher.ref.num_params == 112 + 25


@torch.no_grad()
def test_probabilities_become_logits(
    program: Program, network: Network, opened: Opened, view: Tensor, normalised: Tensor
) -> None:
    teacher = opened(program(network(softmax=True)))
    soft = (teacher(view).logits / 3).softmax(1)
    assert torch.allclose(soft, (network()(normalised) / 3).softmax(1), atol=1e-5)


@torch.no_grad()
def test_a_given_normalisation(
    program: Program, network: Network, opened: Opened, view: Tensor
) -> None:
    teacher = opened(f"{program(network())}#mean=0#std=0.00392156862745098")
    assert torch.allclose(teacher(view).logits, network()(view * 255), atol=1e-3)


def test_views_of_another_size_are_fitted(
    program: Program, network: Network, opened: Opened
) -> None:
    assert opened(program(network()))(torch.rand(2, 1, 9, 9)).logits.shape == (2, 5)


def test_frozen(program: Program, network: Network, opened: Opened, view: Tensor) -> None:
    assert not opened(program(network()))(view.requires_grad_()).logits.requires_grad


def test_other_classes(program: Program, network: Network, opened: Opened) -> None:
    with pytest.raises(ModelError, match="answers 3 classes, the data has 5"):
        opened(program(network(num_classes=3)))


def test_two_answers(program: Program, network: Network, opened: Opened) -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            logits = self.inner(x)
            return logits, logits * 2

    with pytest.raises(ModelError, match="more than one tensor"):
        opened(program(Two()))


def test_two_inputs(tmp_path: Path, opened: Opened) -> None:
    class Sum(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a + b

    example = (torch.zeros(1, 5), torch.zeros(1, 5))
    torch.export.save(torch.export.export(Sum(), example), tmp_path / "sum.pt2")
    with pytest.raises(ModelError, match="takes 2 inputs; expected one tensor"):
        opened(tmp_path / "sum.pt2")


def test_features_are_refused(program: Program, network: Network, opened: Opened) -> None:
    with pytest.raises(ModelError, match="gives logits, and the method also needs features"):
        opened(program(network()), needs=frozenset({"logits", "features"}))


def test_a_pickle_inside_is_not_run(
    program: Program,
    network: Network,
    opened: Opened,
    rewritten: Callable[[Path, dict[str, Any]], Path],
    bomb: Path,
    bomb_bytes: bytes,
) -> None:
    path = rewritten(program(network()), {"data/sample_inputs/model.pt": bomb_bytes})
    assert opened(path).num_classes == 5
    path.write_bytes(bomb_bytes)
    with pytest.raises(BundleError):
        opened(path)
    assert not bomb.exists()
