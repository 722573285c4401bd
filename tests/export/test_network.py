import pytest
import torch
from program_file import BatchNormed, BatchOfOne, saved

from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.errors import BundleError
from edgekd.export.network import load_network, load_plain_network
from edgekd.export.program import PROGRAM_FILE
from edgekd.export.sources import bundle_of


@torch.no_grad()
@pytest.mark.parametrize(("kind", "batch"), [(BatchNormed, None), (BatchOfOne, 1)])
def test_a_copied_program_answers_like_its_source(kind, batch, tmp_path):
    network = kind().eval()
    path = saved(network, tmp_path / "net.pt2", batch=batch)
    folder = bundle_of(path, ExportRecipe(), tmp_path, SilentConsole())
    record, found = load_plain_network(folder)
    assert (record.labels, record.arch.num_classes) == (("0", "1", "2", "3", "4"), 5)
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(found(x), network(x), rtol=1e-4, atol=1e-5)


def test_a_copy_that_was_altered(tmp_path):
    path = saved(BatchNormed().eval(), tmp_path / "net.pt2")
    folder = bundle_of(path, ExportRecipe(), tmp_path, SilentConsole())
    with (folder / PROGRAM_FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="altered"):
        load_network(folder)


def test_a_bundle_is_its_student(student):
    record, network = load_plain_network(student.folder)
    assert record.arch.family == "resnet"
    x = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network(x), student.module(x))
