from pathlib import Path

import pytest
import torch
from program_file import BatchNormed, BatchOfOne, saved
from recording_console import RecordingConsole

from edgekd.console import SilentConsole
from edgekd.errors import BundleError, ModelError, UsageError
from edgekd.export.program import fixed_batch, is_program, open_program
from edgekd.records import ArchSpec


def opened(source, *, input_size=None, console=None):
    return open_program(Path(source), input_size=input_size, console=console or SilentConsole())


def test_what_is_a_program():
    assert is_program(Path("a/net.pt2"))
    assert is_program(Path("net.pt2#mean=0.5"))
    assert not is_program(Path("runs/student"))
    assert not is_program(Path("timm:resnet18@w.safetensors"))


@torch.no_grad()
def test_a_program_of_any_batch(tmp_path):
    network, console = BatchNormed().eval(), RecordingConsole()
    found = opened(saved(network, tmp_path / "net.pt2"), console=console)
    assert (found.num_classes, found.network.batch_size) == (5, None)
    assert (found.image.shape, found.shape) == ((3, 8, 8), (None, 3, 8, 8))
    assert found.image.mean == (0.485, 0.456, 0.406)
    assert "ImageNet's normalisation" in console.infos[0]
    x = torch.randn(3, 3, 8, 8)
    torch.testing.assert_close(found.network(x), network(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_program_with_a_batch_of_one_built_in_is_fed_one_by_one(tmp_path):
    network = BatchOfOne().eval()
    found = opened(saved(network, tmp_path / "net.pt2", batch=1))
    assert found.network.batch_size == 1
    x = torch.randn(3, 3, 8, 8)
    expected = torch.cat([network(row) for row in x.split(1)])
    torch.testing.assert_close(found.network(x), expected, rtol=1e-4, atol=1e-5)


def test_a_static_batch_that_is_built_into_nothing_is_any_batch(tmp_path):
    assert (
        opened(saved(BatchNormed().eval(), tmp_path / "a.pt2", batch=1)).network.batch_size is None
    )


def test_another_batch_built_in_is_refused(tmp_path):
    class Eight(BatchNormed):
        def forward(self, x):
            return super().forward(x).reshape(8, -1)

    path = saved(Eight().eval(), tmp_path / "net.pt2", batch=8)
    with pytest.raises(ModelError, match="with a dynamic batch"):
        opened(path)


def test_a_normalisation_of_its_own(tmp_path):
    path = saved(BatchNormed(channels=1).eval(), tmp_path / "net.pt2", shape=(1, 8, 8))
    console = RecordingConsole()
    image = opened(f"{path}#mean=0.5#std=0.25", console=console).image
    assert (image.channels, image.mean, image.std) == (1, (0.5,), (0.25,))
    assert not console.infos
    assert opened(path).image.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))
    with pytest.raises(ModelError, match="std above 0"):
        opened(f"{path}#std=0")


def test_the_size_is_the_programs(tmp_path):
    path = saved(BatchNormed().eval(), tmp_path / "net.pt2")
    assert opened(path, input_size=8).image.height == 8
    with pytest.raises(UsageError, match="takes 8x8 pixels; leave --input-size out"):
        opened(path, input_size=16)


def test_open_sides_need_a_size(tmp_path):
    side = torch.export.Dim("side", min=4, max=64)
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64), 2: side, 3: side},)
    path = tmp_path / "net.pt2"
    program = torch.export.export(
        BatchNormed().eval(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=dynamic
    )
    torch.export.save(program, path)
    with pytest.raises(UsageError, match="give --input-size"):
        opened(path)
    assert opened(path, input_size=12).image.shape == (3, 12, 12)


def test_no_image(tmp_path):
    path = saved(BatchNormed(channels=4).eval(), tmp_path / "net.pt2", shape=(4, 8, 8))
    with pytest.raises(ModelError, match="its channels are 4"):
        opened(path)


def test_no_logits(tmp_path):
    path = saved(torch.nn.Conv2d(3, 2, 3).eval(), tmp_path / "net.pt2")
    with pytest.raises(ModelError, match="expected finite"):
        opened(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04K\x01."])
def test_what_is_no_program(content, tmp_path):
    (tmp_path / "net.pt2").write_bytes(content)
    with pytest.raises(BundleError, match=r"not an archive of torch\.export\.save"):
        opened(tmp_path / "net.pt2")
    with pytest.raises(BundleError):
        opened(tmp_path / "absent.pt2")


def test_the_batch_of_an_architecture():
    arch = ArchSpec(
        family="torch-export", arguments={"batch_size": 1}, num_classes=2, in_channels=3
    )
    assert fixed_batch(arch) == 1
    assert fixed_batch(arch.model_copy(update={"family": "resnet"})) is None
