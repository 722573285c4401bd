import pytest

from edgekd.config import ExportRecipe
from edgekd.export.quantization.cache import SearchKey, cache_folder, recall, remember
from edgekd.export.quantization.recipe import Int8Recipe
from edgekd.records import MeasuringDevice

RECIPE = Int8Recipe(
    format="onnx", mode="fast", source_sha256="0" * 64, processor="x86", versions={},
    operators={"conv": "static"}, ranges={"x": (0.0, 1.0)},
)  # fmt: skip
PI = MeasuringDevice(
    name="rpi", board="Raspberry Pi 5", cpu="Cortex", arch="aarch64", runtime="onnxruntime 1",
    num_threads=1,
)  # fmt: skip


VERSIONS = {"edgekd": "0.1", "onnxruntime": "1"}


def key(device=PI, versions=VERSIONS, **changes):
    recipe = ExportRecipe(int8="fast", data="x", **changes)
    return SearchKey.of("a" * 64, "b" * 64, versions, recipe, device)


def test_the_folder_is_where_xdg_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "edgekd" / "int8"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification: ignore it
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "edgekd" / "int8"


def test_what_was_found_is_found_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert recall(key()) is None
    remember(key(), RECIPE)
    assert recall(key()) == RECIPE


def test_other_limits_are_another_search(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remember(key(), RECIPE)
    assert recall(key(min_sqnr_db=30.0)) is None
    assert recall(key(num_threads=2)) is None
    assert recall(key(search_seconds=5)) is None
    assert recall(key(max_drop_points=2.0)) is None
    assert recall(key(formats=("onnx",))) is None  # which then has all the time


def test_what_another_edgekd_found_is_not_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remember(key(), RECIPE)
    assert recall(key(versions={"edgekd": "0.2", "onnxruntime": "1"})) is None


@pytest.mark.parametrize("change", [{"cpu": "another"}, {"board": None}, {"runtime": "x 2"}])
def test_another_machine_or_runtime_is_another_search(monkeypatch, tmp_path, change):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remember(key(), RECIPE)
    assert recall(key(PI.model_copy(update=change))) is None


def test_a_board_is_known_under_any_name_unless_a_name_is_all_it_has(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remember(key(), RECIPE)
    assert recall(key(PI.model_copy(update={"name": "kitchen"}))) == RECIPE
    nameless = PI.model_copy(update={"board": None, "cpu": None})
    remember(key(nameless), RECIPE)
    assert recall(key(nameless)) == RECIPE
    assert recall(key(nameless.model_copy(update={"name": "kitchen"}))) is None


def test_a_damaged_entry_is_forgotten(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remember(key(), RECIPE)
    key().file.write_bytes(b"{")
    assert recall(key()) is None


def test_a_cache_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    remember(key(), RECIPE)
    assert recall(key()) is None
