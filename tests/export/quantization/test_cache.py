from edgekd.config import ExportRecipe
from edgekd.export.quantization import cache
from edgekd.export.quantization.cache import SearchKey, cache_folder, recall, remember
from edgekd.export.quantization.recipe import Int8Recipe

RECIPE = Int8Recipe(
    format="onnx", mode="fast", source_sha256="0" * 64, processor="x86", versions={},
    operators={"conv": "static"}, ranges={"x": (0.0, 1.0)},
)  # fmt: skip


def key(**changes):
    recipe = ExportRecipe(int8="fast", data="x", **changes)
    return SearchKey.of("a" * 64, "b" * 64, {"onnxruntime": "1"}, recipe)


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


def test_other_limits_or_another_cpu_are_another_search(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remember(key(), RECIPE)
    assert recall(key(min_sqnr_db=30.0)) is None
    assert recall(key(num_threads=2)) is None
    monkeypatch.setattr(cache, "probe", lambda: {"cpu": "another"})
    assert recall(key()) is None


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
