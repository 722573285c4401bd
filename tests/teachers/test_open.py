from collections.abc import Callable
from pathlib import Path

import pytest

from edgekd.errors import ModelError
from edgekd.records import Preprocess, SignalInput
from edgekd.teachers.open import KINDS
from edgekd.teachers.protocol import Teacher

Opened = Callable[..., Teacher]


def test_every_kind_has_the_two_verbs() -> None:
    assert list(KINDS) == ["timm", "bundle", "torch-export", "onnx", "keras"]
    assert all(callable(k.matches) and callable(k.open_source) for k in KINDS.values())


def test_nothing_there(opened: Opened) -> None:
    with pytest.raises(ModelError, match=r"no such file or folder; .*timm:resnet50"):
        opened("resnet50")


@pytest.mark.parametrize("name", ["notes.txt", "model.tflite", "model.h5"])
def test_a_file_of_no_known_kind(name: str, opened: Opened, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ModelError, match="of no known kind; expected an edgekd bundle"):
        opened(tmp_path / name)


def test_an_empty_folder(opened: Opened, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="of no known kind"):
        opened(tmp_path)


def test_a_pickle_says_how_to_convert(
    opened: Opened, tmp_path: Path, bomb: Path, bomb_bytes: bytes
) -> None:
    (tmp_path / "model.pt").write_bytes(bomb_bytes)
    with pytest.raises(ModelError, match=r"safetensors.torch.save_file"):
        opened(tmp_path / "model.pt")
    assert not bomb.exists()


@pytest.mark.parametrize("option", ["mean", "mean=", "mean=a", "scale=255", "mean=1,x"])
def test_options_that_are_not_understood(option: str, opened: Opened) -> None:
    with pytest.raises(ModelError, match="is not understood; expected #mean"):
        opened(f"net.onnx#{option}")


def test_options_for_a_teacher_that_knows_better(opened: Opened) -> None:
    with pytest.raises(ModelError, match="brings its own normalisation"):
        opened("timm:resnet18#mean=0.5")


def test_sensor_windows(opened: Opened) -> None:
    signal = SignalInput(name="x", channels=1, length=8, mean=(0.0,), std=(1.0,))
    for source in ("timm:resnet18", "absent.onnx"):
        with pytest.raises(ModelError, match="teachers answer one image, unless they are bundles"):
            opened(source, preprocess=Preprocess(inputs=(signal,)))
