import pickle
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from recording_console import RecordingConsole
from torch import nn

from edgekd.errors import BundleError, ModelError
from edgekd.students.weights import head_names, load_weights, read_weights


def network(num_classes: int = 5, channels: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, num_classes)
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(network().state_dict(), path)
    return path


def test_every_tensor_is_taken(file: Path) -> None:
    module = network()
    load_weights(module, file, console=RecordingConsole())
    tensors = safetensors.torch.load_file(file)
    assert all(torch.equal(tensors[key], value) for key, value in module.state_dict().items())


def test_a_shape_that_differs(file: Path) -> None:
    message = r"0.weight has shape \(4, 3, 3, 3\), expected \(4, 1, 3, 3\)\)"
    with pytest.raises(ModelError, match=message):
        load_weights(network(channels=1), file, console=RecordingConsole())


def test_the_first_three_differences_are_named_and_the_rest_counted(file: Path) -> None:
    # missing: the four tensors of two linear layers; too many: the file's own nine
    module = nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Linear(1, 1)})
    with pytest.raises(ModelError, match=r"a.bias is missing; .*; b.bias is .*; and 10 more"):
        load_weights(module, file, console=RecordingConsole())


def test_a_head_of_other_classes_stays_fresh_where_that_is_asked_for(file: Path) -> None:
    module, notes = network(num_classes=7), RecordingConsole()
    head = module[3].weight.detach().clone()
    with pytest.raises(ModelError, match="does not fit"):
        load_weights(module, file, console=notes)
    load_weights(module, file, replace_head=True, console=notes)
    tensors = safetensors.torch.load_file(file)
    assert torch.equal(module[0].weight, tensors["0.weight"])
    assert torch.equal(module[3].weight, head)
    (line,) = notes.infos
    assert "3.bias, 3.weight" in line


def test_only_the_head_may_differ(file: Path) -> None:
    module = network(num_classes=7, channels=1)
    with pytest.raises(ModelError, match=r"0\.weight has shape"):
        load_weights(module, file, replace_head=True, console=RecordingConsole())


def test_a_fitting_head_is_kept_without_a_word(file: Path) -> None:
    module, notes = network(), RecordingConsole()
    load_weights(module, file, replace_head=True, console=notes)
    assert torch.equal(module[3].weight, safetensors.torch.load_file(file)["3.weight"])
    assert notes.infos == []


@pytest.mark.parametrize(
    ("name", "heads"),
    [("resnet18", ("fc",)), ("mobilevit_s", ("head.fc",)), ("levit_128s", ("head.linear",))],
)
def test_timm_names_its_heads(name: str, heads: tuple[str, ...]) -> None:
    assert head_names(timm.create_model(name))[:1] == heads


def test_the_last_linear_layer_is_the_head() -> None:
    assert head_names(network()) == ("3",)
    assert head_names(nn.Flatten()) == ()


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".PTH"])
def test_a_pickle_is_refused_by_its_suffix(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"can run code .* safetensors\.torch\.save_file"):
        read_weights(tmp_path / f"weights{suffix}")


def test_a_pickle_renamed_is_not_opened(tmp_path: Path) -> None:
    path, target = tmp_path / "weights.safetensors", tmp_path / "exploded"

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (target,)

    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BundleError, match="not a safetensors file"):
        read_weights(path)
    assert not target.exists()


def test_a_folder_is_told_which_file_of_it_to_give(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"a folder; give the file in it: .*/weights\.safetensors"
    ):
        read_weights(tmp_path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="not a safetensors file"):
        read_weights(tmp_path / "weights.safetensors")
