from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from program_file import BatchNormed, saved
from recording_console import RecordingConsole

from edgekd.bundle import BUNDLE_FILE, read_record
from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.errors import BundleError, ModelError, UsageError
from edgekd.export import sources
from edgekd.export.network import load_network
from edgekd.export.sources import bundle_of, is_foreign
from edgekd.records import StudentBundle
from edgekd.students import timm_family
from edgekd.students.build import load_student
from edgekd.students.count import Cost

NAME = "mobilenetv3_small_050"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    arch = timm_family.parse(NAME, {}, num_classes=10, in_channels=1, input_size=(32, 32))
    network = timm_family.build(arch)
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    safetensors.torch.save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return path, network.eval()


def made(source, tmp_path, **recipe):
    return bundle_of(Path(source), ExportRecipe(**recipe), tmp_path, SilentConsole())


def test_a_bundle_folder_is_itself(tmp_path):
    assert made(tmp_path / "x", tmp_path) == tmp_path / "x"
    with pytest.raises(UsageError, match="a bundle knows its own size"):
        made(tmp_path / "x", tmp_path, input_size=32)


def test_a_network_and_its_weights_become_a_bundle_that_answers_the_same(weights, tmp_path):
    path, network = weights
    folder = made(f"timm:{NAME}@{path}", tmp_path, input_size=32, data="builtin:digits")
    record, student = load_student(folder)
    assert record.labels == tuple("0123456789")
    image = record.preprocess.image
    assert (image.channels, image.height, image.width) == (1, 32, 32)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 1, 32, 32), np.float32))
    with torch.no_grad():
        torch.testing.assert_close(student(x), network(x))


def test_operators_that_could_not_be_counted_are_kept_and_said(weights, tmp_path, monkeypatch):
    def count(network, shapes):
        return Cost(num_params=7, macs=5, uncounted_operators=("aten::_fft_r2c",))

    console = RecordingConsole()
    monkeypatch.setattr(sources, "count_cost", count)
    program = saved(BatchNormed(channels=1).eval(), tmp_path / "net.pt2", shape=(1, 8, 8))
    for number, source in enumerate((f"timm:{NAME}@{weights[0]}", program)):
        work = tmp_path / str(number)
        work.mkdir()
        recipe = ExportRecipe(**({"input_size": 32} if number == 0 else {}))
        folder = bundle_of(Path(source), recipe, work, console)
        record = read_record(StudentBundle, folder / BUNDLE_FILE)
        assert record.uncounted_operators == ("aten::_fft_r2c",)
        assert "7 parameters, 5 MACs (without aten::_fft_r2c, which" in console.infos[-1]


def test_what_does_not_fit_is_said(weights, tmp_path):
    path, _ = weights
    with pytest.raises(UsageError, match="an untrained network is nothing to export"):
        made(f"timm:{NAME}", tmp_path)
    with pytest.raises(ModelError, match="no timm architecture of this name"):
        made(f"timm:nonsense@{path}", tmp_path)
    with pytest.raises(ModelError, match="does not fit the architecture"):
        made(f"timm:mobilenetv3_small_100@{path}", tmp_path, input_size=32)
    (tmp_path / "bad.safetensors").write_bytes(b"x")
    with pytest.raises(BundleError, match="not a safetensors file"):
        made(f"timm:{NAME}@{tmp_path / 'bad.safetensors'}", tmp_path)


def test_classes_are_numbers_where_the_data_has_another_number_of_them(weights, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "two.npz", x=images, y=np.repeat(np.array(["a", "b"]), 30))
    source = f"timm:{NAME}@{weights[0]}"
    folder = made(source, tmp_path, input_size=32, data=str(tmp_path / "two.npz"))
    record, _ = load_student(folder)
    assert record.labels == tuple("0123456789")
    assert is_foreign(record)


def test_a_program_gets_the_labels_of_the_data(tmp_path):
    path = saved(
        BatchNormed(channels=1, num_classes=10).eval(), tmp_path / "net.pt2", shape=(1, 8, 8)
    )
    record, _ = load_network(made(path, tmp_path, data="builtin:digits"))
    assert (record.labels, record.provenance.recipe["source"]) == (tuple("0123456789"), str(path))
    other = saved(BatchNormed(channels=1).eval(), tmp_path / "5.pt2", shape=(1, 8, 8))
    (tmp_path / "again").mkdir()
    record, _ = load_network(made(other, tmp_path / "again", data="builtin:digits"))
    assert record.labels == tuple("01234")


def test_a_pickle_is_not_a_source(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ModelError, match="a pickle can run code"):
        made(tmp_path / "net.pt", tmp_path)
