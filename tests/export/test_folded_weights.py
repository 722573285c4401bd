import pytest
import torch
from torch import nn

from edgekd.bundle import sha256_of
from edgekd.errors import ConfigError
from edgekd.export.folded_weights import folded_bytes, load_folded


def network(seed, width=3):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, width, 1), nn.ReLU(), nn.Conv2d(width, 1, 1))


def test_weights_come_back_whatever_their_order_in_memory(tmp_path):
    one, path = network(0), tmp_path / "w.safetensors"
    path.write_bytes(folded_bytes(one.to(memory_format=torch.channels_last)))
    other = load_folded(network(1), path, sha256=sha256_of(path))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_weights_that_are_missing_altered_or_of_another_network_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(ConfigError, match="not the weights that the recovery trained"):
        load_folded(network(0), path)
    path.write_bytes(folded_bytes(network(0)))
    with pytest.raises(ConfigError, match="its sha256 is another one"):
        load_folded(network(0), path, sha256="0" * 64)
    with pytest.raises(ConfigError, match="or recover again"):
        load_folded(network(0, width=4), path)
    path.write_bytes(b"not safetensors")
    with pytest.raises(ConfigError, match="not the weights"):
        load_folded(network(0), path)
