import dataclasses

import numpy as np
import onnx
import pytest
from int8_jobs import flat_race, job, no_race, write
from small_onnx import samples, write_small_network

from edgekd.bundle import to_json
from edgekd.errors import ConfigError
from edgekd.export.adjustments.record import Adjustments, ChannelScaling
from edgekd.export.int8_basis import Basis
from edgekd.export.quantization.onnx_quantizer import OnnxQuantizer


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


SCALING = ChannelScaling(
    kind="equalization", divided=("w2", "b2"), multiplied=("w3",), eighths=(0,) * 16
)
EQUALIZED = Adjustments(scalings=(SCALING,))


class Adjuster:
    """Proposes one equalization."""

    settled = None

    def propose(self, kind, kept):
        return EQUALIZED if kind == "equalization" else None


def adjustable(tmp_path, feeds, race=flat_race, **recipe):
    """A job whose network has uneven channels; adjusted, it is the small network as it was."""
    fp32, sizes = tmp_path / "fp32.onnx", np.geomspace(1, 1000, 16).astype(np.float32)
    if not fp32.exists():
        model = onnx.load(write_small_network(fp32))
        for item in model.graph.initializer:
            if item.name in ("w2", "b2", "w3"):
                values = onnx.numpy_helper.to_array(item)
                shape = {"w2": (-1, 1, 1, 1), "b2": (-1,), "w3": (1, -1, 1, 1)}[item.name]
                factors = sizes.reshape(shape) ** (-1 if item.name == "w3" else 1)
                item.CopyFrom(onnx.numpy_helper.from_array(values * factors, item.name))
        onnx.save(model, fp32)

    def remake(adjustments):
        path = write_small_network(plain.work / "adjusted.onnx")
        return Basis(quantizer=OnnxQuantizer(path, "x86-vnni"), fp32=path, adjustments=adjustments)

    plain = job(tmp_path, feeds, race, **recipe)
    return dataclasses.replace(plain, adjuster=Adjuster(), remake=remake)


@pytest.mark.parametrize("mode", ["fast", "full"])
def test_an_adjusted_file_is_made_again_from_its_recipe(tmp_path, mode):
    recipe, path = write(adjustable(tmp_path, samples(), int8=mode), tmp_path)
    assert recipe.adjustments == EQUALIZED
    assert [(tried.name, tried.applied) for tried in recipe.tried] == [("equalization", True)]
    assert recipe.layers
    (tmp_path / "r.json").write_bytes(to_json(recipe))
    again = adjustable(tmp_path, None, no_race, int8_recipe=(str(tmp_path / "r.json"),))
    found, replayed = write(again, tmp_path, "again.onnx")
    assert found == recipe
    assert replayed.read_bytes() == path.read_bytes()


def test_an_adjusted_search_is_answered_from_the_cache(tmp_path):
    recipe, path = write(adjustable(tmp_path, samples(), int8="fast"), tmp_path)
    again = adjustable(tmp_path, samples(), no_race, int8="fast")
    found, second = write(again, tmp_path, "again.onnx")
    assert found == recipe
    assert second.read_bytes() == path.read_bytes()
    assert again.adjuster.settled == EQUALIZED  # what the other format starts from


def test_a_recipe_of_an_adjusted_network_is_refused_where_that_gives_another_file(tmp_path):
    recipe, _ = write(adjustable(tmp_path, samples(), int8="full"), tmp_path)
    (tmp_path / "r.json").write_bytes(to_json(recipe))
    unchanged = job(tmp_path, None, no_race, int8_recipe=(str(tmp_path / "r.json"),))
    with pytest.raises(ConfigError, match="made for another fp32 file"):
        write(unchanged, tmp_path)
