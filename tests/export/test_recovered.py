import pytest

from edgekd.bundle import to_json
from edgekd.config import ExportRecipe
from edgekd.errors import ConfigError
from edgekd.export.quantization.recipe import Int8Recipe
from edgekd.export.recovered import recorded_recovery
from edgekd.records import Recovery

RECOVERY = Recovery(
    epochs=2, final_loss=0.25, reason="drop 3.0 points", teacher="student", weights_sha256="1" * 64
)


def write(path, form, recovery=None):
    recipe = Int8Recipe(
        format=form, mode="full", source_sha256="0" * 64, processor="x86", versions={},
        operators={}, ranges={}, recovery=recovery,
    )  # fmt: skip
    path.write_bytes(to_json(recipe))
    return str(path)


def test_the_weights_lie_beside_the_recipes(tmp_path):
    paths = [write(tmp_path / f"{form}.json", form, RECOVERY) for form in ("onnx", "tflite")]
    found = recorded_recovery(ExportRecipe(int8_recipe=tuple(paths)))
    assert found.weights == tmp_path / "student.recovered.safetensors"
    assert (found.record, found.learned) == (RECOVERY, ())


def test_other_recipes_have_no_recovery(tmp_path):
    path = write(tmp_path / "a.json", "onnx")
    assert recorded_recovery(ExportRecipe(int8_recipe=(path,))) is None
    assert recorded_recovery(ExportRecipe(int8="fast")) is None


@pytest.mark.parametrize("other", [None, RECOVERY.model_copy(update={"weights_sha256": "2" * 64})])
def test_recipes_of_different_weights_are_refused(tmp_path, other):
    paths = (
        write(tmp_path / "a.json", "onnx", RECOVERY),
        write(tmp_path / "b.json", "tflite", other),
    )
    for given in (paths, paths[::-1]):
        with pytest.raises(ConfigError, match="made from different weights"):
            recorded_recovery(ExportRecipe(int8_recipe=given))
