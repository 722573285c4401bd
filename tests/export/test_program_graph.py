import pytest
import torch
from program_file import BatchNormed, saved

from edgekd.errors import ModelError
from edgekd.export.program_graph import plain_module
from edgekd.teachers.program import load_program


def loaded(path):
    return plain_module(load_program(path).module, path)


@torch.no_grad()
def test_norms_are_folded_into_the_layer_before_them(tmp_path):
    network = BatchNormed().eval()
    plain = loaded(saved(network, tmp_path / "net.pt2"))
    calls = [str(node.target) for node in plain.graph.nodes if node.op == "call_function"]
    assert sum("batch_norm" in call for call in calls) == 1  # the one behind a ReLU has no layer
    x = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain(x)[0], network(x), rtol=1e-4, atol=1e-5)
    # conv 3 * 4 * 9 + 4, the loose norm 4 + 4, linear 4 * 5 + 5: nothing unused is kept
    assert sum(p.numel() for p in plain.parameters()) == 112 + 8 + 25


def test_it_can_be_put_into_eval_mode_and_copied(tmp_path):
    plain = loaded(saved(BatchNormed().eval(), tmp_path / "net.pt2"))
    assert not plain.train().eval().training


def test_a_network_that_was_exported_while_training(tmp_path):
    path = saved(BatchNormed().train(), tmp_path / "net.pt2")
    with pytest.raises(ModelError, match="exported in training mode"):
        loaded(path)
