import pytest

from edgekd.bundle import to_json
from edgekd.config import ExportRecipe
from edgekd.errors import ConfigError
from edgekd.export.int8_replay import formats_of_recipes, given_recipe
from edgekd.export.quantization.recipe import Int8Recipe


def written(folder, model_format, name):
    recipe = Int8Recipe(
        format=model_format, mode="weights", source_sha256="", processor="x86",
        versions={"made by": name}, operators={}, ranges={},
    )  # fmt: skip
    path = folder / f"{name}.recipe.json"
    path.write_bytes(to_json(recipe))
    return str(path)


def test_of_several_recipes_each_format_takes_its_own(tmp_path):
    paths = tuple(written(tmp_path, f, f) for f in ("onnx", "tflite"))
    for path, model_format in zip(paths, ("onnx", "tflite"), strict=True):
        found = given_recipe(ExportRecipe(int8_recipe=paths), model_format)
        assert (found[0], found[1].versions) == (path, {"made by": model_format})


def test_recipes_say_which_formats_are_written_unless_that_is_asked_for(tmp_path):
    onnx, tflite = (written(tmp_path, name, name) for name in ("onnx", "tflite"))
    assert formats_of_recipes(ExportRecipe(int8_recipe=(tflite,))).formats == ("tflite",)
    assert formats_of_recipes(ExportRecipe(int8_recipe=(tflite, onnx))).formats == (
        "onnx",
        "tflite",
    )
    asked = ExportRecipe(int8_recipe=(tflite,), formats=("onnx", "tflite"))
    assert formats_of_recipes(asked) == asked
    assert formats_of_recipes(ExportRecipe()).formats == ("onnx", "tflite")


def test_two_recipes_of_one_format_are_refused(tmp_path):
    paths = tuple(written(tmp_path, "onnx", name) for name in ("first", "last"))
    with pytest.raises(ConfigError, match=r"first\..* and .*last\..* are both for onnx; give one"):
        given_recipe(ExportRecipe(int8_recipe=paths), "onnx")


@pytest.mark.parametrize("word", ["fast", "full", "dynamic"])
def test_a_recipe_of_another_kind_than_is_asked_for_is_refused(tmp_path, word):
    paths = (written(tmp_path, "onnx", "weights"),)
    with pytest.raises(ConfigError, match=f"made by --int8 weights, and --int8 {word} is asked"):
        given_recipe(ExportRecipe(int8=word, int8_recipe=paths), "onnx")
    assert given_recipe(ExportRecipe(int8="weights", int8_recipe=paths), "onnx") is not None


def test_without_recipes_nothing_is_replayed():
    assert given_recipe(ExportRecipe(), "onnx") is None


def test_only_a_recipe_of_the_other_format_is_refused(tmp_path):
    recipe = ExportRecipe(int8_recipe=(written(tmp_path, "tflite", "t"),))
    with pytest.raises(ConfigError, match="none of the recipes is for onnx"):
        given_recipe(recipe, "onnx")
