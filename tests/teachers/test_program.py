from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgekd.errors import BundleError, ModelError
from edgekd.teachers.program import load_program, only_tensor

Program = Callable[..., Path]
Network = Callable[..., nn.Sequential]


@torch.no_grad()
@pytest.mark.parametrize(("batch", "axis"), [(None, None), (2, 2)])
def test_the_program_and_its_shape(
    batch: int | None, axis: int | None, program: Program, network: Network
) -> None:
    loaded = load_program(program(network(), batch=batch))
    assert loaded.shape == (axis, 3, 16, 16)
    (answer,) = loaded.answers
    assert (answer.shape, answer.dtype) == ((axis or "batch", 5), "float32")
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(only_tensor(loaded.module(x), Path("x")), network()(x))


def test_inputs_that_are_damaged(
    program: Program, network: Network, rewritten: Callable[[Path, dict[str, Any]], Path]
) -> None:
    def change(model: dict[str, Any]) -> None:
        model["graph_module"]["graph"]["tensor_values"] = {}

    path = rewritten(program(network()), {"models/model.json": change})
    with pytest.raises(BundleError, match="its inputs are damaged"):
        load_program(path)


def test_one_tensor_however_it_is_wrapped() -> None:
    one = torch.zeros(1)
    for answer in (one, (one,), [(one,)], {"logits": one}):
        assert only_tensor(answer, Path("x")) is one
    with pytest.raises(ModelError, match="more than one tensor"):
        only_tensor((one, one), Path("x"))
