import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgekd.errors import BundleError, ModelError
from edgekd.teachers.keras_guard import check_keras_archive

DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 5}}


def archive(folder: Path, layer: Any, **members: bytes) -> Path:
    path = folder / "net.keras"
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [DENSE, layer]}}
    config["compile_config"] = {"loss": {"module": "my.losses", "class_name": "function"}}
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("metadata.json", "{}")
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_keras_own_layers_pass(tmp_path: Path) -> None:
    functional = {"module": "keras.src.models.functional", "class_name": "Functional"}
    check_keras_archive(archive(tmp_path, functional))


@pytest.mark.parametrize(
    "layer",
    [
        {"module": "keras.layers", "class_name": "Lambda", "config": {}},
        {"class_name": "Lambda", "config": {}},
        {"module": "keras.layers", "class_name": "TorchModuleWrapper"},
        {"module": "keras.layers", "class_name": "Dense", "use": {"class_name": "__lambda__"}},
        {"module": "builtins", "class_name": "function", "config": "os.system"},
        {"module": "os", "class_name": "system"},
        {"module": "keras.utils", "class_name": "get_file"},
        {"module": "keras.src.saving.saving_lib", "class_name": "load_model"},
        {"module": "kerasX.layers", "class_name": "Dense"},
    ],
)  # fmt: skip
def test_anything_else_is_refused(layer: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="could run code or open files"):
        check_keras_archive(archive(tmp_path, layer))


def test_members_that_do_not_belong(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds \['evil.pkl'\]"):
        check_keras_archive(archive(tmp_path, DENSE, **{"evil.pkl": b"x"}))


def test_a_pickle_renamed(tmp_path: Path, bomb: Path, bomb_bytes: bytes) -> None:
    path = tmp_path / "net.keras"
    path.write_bytes(bomb_bytes)
    with pytest.raises(BundleError, match=r"not a \.keras archive"):
        check_keras_archive(path)
    assert not bomb.exists()


def test_a_configuration_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "net.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{")
    with pytest.raises(BundleError, match=r"not a \.keras archive"):
        check_keras_archive(path)
