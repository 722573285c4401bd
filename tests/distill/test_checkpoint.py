import json
import os

import pytest
import safetensors.torch
import torch
from torch import nn

from edgekd.distill.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from edgekd.errors import BundleError, OutputError


def trained(optimizer_class, **options):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    module = module.to(memory_format=torch.channels_last)
    optimizer = optimizer_class(module.parameters(), lr=0.1, **options)
    for _ in range(2):
        optimizer.zero_grad()
        module(torch.randn(4, 2, 3, 3)).square().sum().backward()
        optimizer.step()
    return module, optimizer


def checkpoint_of(module, optimizer):
    return Checkpoint(
        parts={"student": module.state_dict()},
        optimizer=optimizer.state_dict(),
        facts={"recipe": {"epochs": 3}},
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [(torch.optim.SGD, {"momentum": 0.9, "nesterov": True}), (torch.optim.AdamW, {"fused": True})],
)
def test_everything_comes_back_bit_for_bit(tmp_path, kind, options):
    module, optimizer = trained(kind, **options)
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, checkpoint_of(module, optimizer))
    back = read_checkpoint(path)
    for name, tensor in module.state_dict().items():
        assert torch.equal(back.parts["student"][name], tensor)
    state = optimizer.state_dict()
    assert back.optimizer["param_groups"] == json.loads(json.dumps(state["param_groups"]))
    for index, values in state["state"].items():
        assert back.optimizer["state"][index].keys() == values.keys()
        for name, value in values.items():
            assert torch.equal(back.optimizer["state"][index][name], torch.as_tensor(value))
    assert back.facts == {"recipe": {"epochs": 3}}


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, -1])
def test_a_truncated_checkpoint_is_one_clear_error(tmp_path, keep):
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, checkpoint_of(*trained(torch.optim.SGD)))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(BundleError, match="not a checkpoint of edgekd"):
        read_checkpoint(path)


def test_a_foreign_safetensors_file_is_not_a_checkpoint(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(BundleError, match="not a checkpoint"):
        read_checkpoint(path)


def test_an_unknown_schema_is_named(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    safetensors.torch.save_file({}, path, {"edgekd": json.dumps({"schema": "9"})})
    with pytest.raises(BundleError, match="schema '9' found"):
        read_checkpoint(path)


def test_a_failed_write_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, checkpoint_of(*trained(torch.optim.SGD)))
    before = path.read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_checkpoint(path, checkpoint_of(*trained(torch.optim.AdamW)))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
