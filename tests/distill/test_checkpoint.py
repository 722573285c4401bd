import hashlib
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


@pytest.mark.parametrize("schema", ["1", "9"])
def test_another_schema_is_named_with_what_to_do(tmp_path, schema):
    path = tmp_path / "checkpoint.safetensors"
    safetensors.torch.save_file({}, path, {"edgekd": json.dumps({"schema": schema})})
    with pytest.raises(BundleError, match=f"schema '{schema}' found, .*--overwrite"):
        read_checkpoint(path)


def data_section(content):
    """Where the tensors begin: safetensors says the length of its header in 8 bytes before it."""
    return 8 + int.from_bytes(content[:8], "little")


def test_a_flipped_bit_of_any_tensor_is_refused(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, checkpoint_of(*trained(torch.optim.AdamW)))
    content = path.read_bytes()
    start = data_section(content)
    assert len(content) - start > 500
    for at in [*range(start, len(content), 11), len(content) - 1]:
        altered = bytearray(content)
        altered[at] ^= 1
        path.write_bytes(altered)
        with pytest.raises(BundleError, match="altered after it was written"):
            read_checkpoint(path)
    path.write_bytes(content)
    read_checkpoint(path)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (b"momentum", b"nomentum", "altered"),
        (b"epochs", b"apochs", "altered"),
        (b"optimizer_scalars", b"optimizer_skalars", "altered"),
        (b"student/0.bias", b"student/O.bias", "altered"),
        (b'"edgekd"', b'"adgekd"', "not a checkpoint"),
        (b'"sha256"', b'"sha255"', "not a checkpoint"),
    ],
)
def test_an_altered_header_is_refused(tmp_path, before, after, said):
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, checkpoint_of(*trained(torch.optim.SGD, momentum=0.9)))
    content = path.read_bytes()
    assert before in content[: data_section(content)]
    path.write_bytes(content.replace(before, after))
    with pytest.raises(BundleError, match=said):
        read_checkpoint(path)


WHOLE = {"schema": "2", "optimizer_scalars": {}, "optimizer_groups": [], "facts": {}}


def sealed(path, header):
    """A checkpoint without tensors: its digest is that of the header alone."""
    text = json.dumps(header)
    digest = hashlib.sha256(text.encode()).hexdigest()
    safetensors.torch.save_file({}, path, {"edgekd": text, "sha256": digest})
    return path


@pytest.mark.parametrize(
    "header",
    [
        *({key: value for key, value in WHOLE.items() if key != missing} for missing in WHOLE),
        WHOLE | {"optimizer_scalars": [1]},
        WHOLE | {"optimizer_scalars": {"first": {}}},
        WHOLE | {"optimizer_scalars": {"0": 1}},
        [WHOLE],
    ],
)
def test_a_header_that_is_none_is_refused_also_with_a_right_digest(tmp_path, header):
    assert read_checkpoint(sealed(tmp_path / "whole", WHOLE)).facts == {}
    with pytest.raises(BundleError, match="not a checkpoint of edgekd"):
        read_checkpoint(sealed(tmp_path / "partly", header))


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
