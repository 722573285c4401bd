import json

import pytest

from edgekd.bundle import to_json
from edgekd.errors import ConfigError
from edgekd.export.quantization.recipe import Figures, Int8Recipe, read_int8_recipe

RECIPE = Int8Recipe(
    format="onnx",
    mode="fast",
    source_sha256="0" * 64,
    processor="x86",
    versions={"onnxruntime": "1.0"},
    operators={"conv": "static", "sum": "float"},
    ranges={"x": (-0.1, 1 / 3)},
    figures=Figures(speedup=1.5, sqnr_db=30.0, seconds=1.0, candidates=3),
)


def test_a_recipe_comes_back_as_it_was_to_the_last_bit(tmp_path):
    path = tmp_path / "x.recipe.json"
    path.write_bytes(to_json(RECIPE))
    assert read_int8_recipe(path) == RECIPE


def altered(fields):
    fields["operators"]["conv"] = "float"
    return json.dumps(fields)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"\xff\xfe" + content,
        lambda content: b"[]",
        lambda content: altered(json.loads(content)).encode(),  # its digest no longer fits
        lambda content: content.replace(b'"schema": 1', b'"schema": 99'),
    ],
)
def test_a_damaged_recipe_is_one_clear_error(tmp_path, damage):
    path = tmp_path / "x.recipe.json"
    content = to_json(RECIPE)
    path.write_bytes(damage(content))
    assert path.read_bytes() != content
    with pytest.raises(ConfigError, match="not an int8 recipe that edgekd wrote"):
        read_int8_recipe(path)


def test_a_missing_recipe_is_one_clear_error(tmp_path):
    with pytest.raises(ConfigError, match="not an int8 recipe"):
        read_int8_recipe(tmp_path / "none.json")
