import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgekd.errors import BundleError, ModelError
from edgekd.teachers.pt2_guard import clean_archive

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"

Saved = Callable[..., Path]
Rewritten = Callable[[Path, dict[str, Any]], Path]


@pytest.fixture
def saved(program: Saved, network: Callable[..., nn.Module]) -> Path:
    return program(network())


def graph(model: dict[str, Any]) -> dict[str, Any]:
    return model["graph_module"]["graph"]


def test_a_clean_program_keeps_its_network_and_nothing_else(saved: Path) -> None:
    buffer, program = clean_archive(saved)
    text = json.dumps(program)
    assert "stack_trace" not in text
    assert program["guards_code"] == []
    with zipfile.ZipFile(buffer) as archive:
        contents = {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}
    assert contents["data/sample_inputs/model.pt"] == b""  # was a pickle
    assert not any(
        c.startswith((b"\x80", b"PK")) for n, c in contents.items() if "weight_" not in n
    )


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(model: dict[str, Any]) -> None:
        graph(model)["nodes"][0][key] = value

    return change


def _evil_size(model: dict[str, Any]) -> None:
    sizes = graph(model)["tensor_values"]["input"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = "__import__('os').system('true')"


def _evil_nested_size(model: dict[str, Any]) -> None:
    sizes = graph(model)["tensor_values"]["input"]["sizes"]
    sizes[0]["as_expr"]["expr_str"] = "Max(\"__import__('os').getpid()\", 2)"


def _evil_placeholder(model: dict[str, Any]) -> None:
    graph(model)["inputs"][-1]["as_tensor"]["name"] = "x=__import__('os').getpid()"


def _evil_tree(model: dict[str, Any]) -> None:
    call = model["graph_module"]["module_call_graph"][0]["signature"]
    call["in_spec"] = '[1, {"type": "os.system", "context": "null", "children_spec": []}]'


def _custom_object(model: dict[str, Any]) -> None:
    graph(model)["inputs"][-1] = {"as_custom_obj": {"name": "x", "class_fqn": "a.b"}}


def _evil_argument_names(model: dict[str, Any]) -> None:
    call = model["graph_module"]["module_call_graph"][0]["signature"]
    call["forward_arg_names"] = ["x=print()"]


@pytest.mark.parametrize(
    "change",
    [
        _set("target", "torch.load"),
        _set("target", "torch.ops.load_library"),
        _set("target", "torch.ops.aten.from_file.default"),
        _set("target", "torch.ops.aten.conv2d.default.__class__"),
        _set("target", "_operator.methodcaller"),
        _set("target", "#extension:op"),
        _set("name", "a\nimport os"),
        _evil_size,
        _evil_nested_size,
        _evil_placeholder,
        _evil_tree,
        _custom_object,
        _evil_argument_names,
    ],
)
def test_anything_that_could_run_is_refused(
    change: Callable[[dict[str, Any]], None], saved: Path, rewritten: Rewritten
) -> None:
    with pytest.raises(ModelError, match="could run code"):
        clean_archive(rewritten(saved, {MODEL: change}))


def test_code_that_torch_would_paste_into_source_is_dropped(
    saved: Path, rewritten: Rewritten
) -> None:
    def change(model: dict[str, Any]) -> None:
        model["guards_code"] = ["__import__('os').getpid()"]
        graph(model)["nodes"][0]["metadata"] = {"stack_trace": "x\nimport os"}

    _, program = clean_archive(rewritten(saved, {MODEL: change}))
    assert "import" not in json.dumps(program)


def test_pickled_tensors_and_objects_are_never_opened(
    saved: Path, rewritten: Rewritten, bomb: Path, bomb_bytes: bytes
) -> None:
    def pickled(config: dict[str, Any]) -> None:
        config["config"]["0.weight"]["use_pickle"] = True

    def opaque(config: dict[str, Any]) -> None:
        config["config"]["0.weight"]["path_name"] = "opaque_obj_0"

    for change in (pickled, opaque):
        members = {WEIGHTS: change, "data/weights/weight_0": bomb_bytes}
        with pytest.raises(ModelError, match="could run code"):
            clean_archive(rewritten(saved, members))
    assert not bomb.exists()


def test_a_pickle_among_the_sample_inputs_is_dropped(
    saved: Path, rewritten: Rewritten, bomb: Path, bomb_bytes: bytes
) -> None:
    payload = io.BytesIO()
    torch.save({"x": torch.zeros(1)}, payload)
    changed = rewritten(saved, {"data/sample_inputs/model.pt": bomb_bytes})
    buffer, _ = clean_archive(changed)
    torch.export.load(buffer)
    assert not bomb.exists()


def test_compiled_libraries_are_left_behind(saved: Path, rewritten: Rewritten) -> None:
    changed = rewritten(saved, {"data/aotinductor/model/lib.so": b"\x7fELF"})
    buffer, _ = clean_archive(changed)
    with zipfile.ZipFile(buffer) as archive:
        assert not any("aotinductor" in name for name in archive.namelist())


def test_two_members_of_one_name(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(f"{archive.namelist()[0].partition('/')[0]}/{MODEL}", "{}")
    with pytest.raises(ModelError, match="two members of one name"):
        clean_archive(saved)


def test_a_pickle_renamed(tmp_path: Path, bomb: Path, bomb_bytes: bytes) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(bomb_bytes)
    with pytest.raises(BundleError, match="not an archive"):
        clean_archive(path)
    assert not bomb.exists()


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"graph_module": 3}', b"\xff"])
def test_a_damaged_program(content: bytes, saved: Path, rewritten: Rewritten) -> None:
    with pytest.raises(BundleError, match="export"):
        clean_archive(rewritten(saved, {MODEL: content}))


@pytest.mark.parametrize("name", [MODEL, WEIGHTS, "data/weights/weight_1", "archive_version"])
def test_a_missing_member(name: str, saved: Path, rewritten: Rewritten) -> None:
    with pytest.raises(BundleError, match=f"has no {name}"):
        clean_archive(rewritten(saved, {name: None}))


def test_a_truncated_file(saved: Path) -> None:
    content = saved.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 40, len(content) - 1):
        saved.write_bytes(content[:size])
        with pytest.raises(BundleError, match="export"):
            clean_archive(saved)


def test_members_that_unpack_to_more_than_the_file_holds(saved: Path) -> None:
    top = zipfile.ZipFile(saved).namelist()[0].partition("/")[0]
    with zipfile.ZipFile(saved, "a", compression=zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{top}/data/bomb", bytes(10_000_000))
    with pytest.raises(ModelError, match="unpacks to more than it holds"):
        clean_archive(saved)
