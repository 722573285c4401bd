import dataclasses
import hashlib

import numpy as np
import onnx
import pytest
from small_onnx import SHAPE, samples, write_small_network

from edgekd.bundle import to_json
from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.devices.local import describe
from edgekd.errors import ConfigError, DeviceError
from edgekd.export.adjustments.record import Adjustments, ChannelScaling
from edgekd.export.audit import audit_file
from edgekd.export.int8 import write_int8
from edgekd.export.int8_basis import Basis
from edgekd.export.int8_job import Int8Job
from edgekd.export.quantization.cache import cache_folder
from edgekd.export.quantization.candidates import answers, signal_to_noise
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.onnx_quantizer import OnnxQuantizer
from edgekd.export.quantization.target import Target


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def flat_race(files, *, num_threads, seconds):
    """The more of a file is int8, the faster: its number of quantizers decides."""
    times = []
    for path in files:
        count = path.read_bytes().count(b"\x0eQuantizeLinear") if path.name != "fp32.onnx" else 0
        times.append((1000 - 20 * count,) * 7)
    return tuple(times)


def no_race(files, *, num_threads, seconds):
    raise AssertionError("nothing is measured twice")


def target(processor="x86-vnni", version="1.0", **info):
    """A device of which only this much is known."""
    fields = describe().model_copy(update={"name": "rpi", "board": "A board", **info})
    return Target(info=fields, processor=processor, runtime_version=lambda model_format: version)


def job(tmp_path, feeds=None, race=flat_race, device=None, **recipe):
    fp32 = tmp_path / "fp32.onnx"
    if not fp32.exists():
        write_small_network(fp32)
    work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
    work.mkdir()
    wanted = ExportRecipe(**recipe)
    return Int8Job(
        recipe=wanted,
        clock=Clock(seconds=wanted.search_seconds),
        fp32=fp32,
        feeds=feeds,
        batch=3,
        accept=lambda path: True,
        work=work,
        race=race,
        target=device or target(),
    )


def write(job, tmp_path, name="int8.onnx"):
    with SilentConsole().track("", total=1) as progress:
        quantizer = OnnxQuantizer(job.fp32, job.target.processor)
        recipe = write_int8(quantizer, job, tmp_path / name, progress)
    return recipe, tmp_path / name


def test_a_search_finds_the_fastest_and_its_recipe_makes_the_same_bytes(tmp_path):
    recipe, path = write(job(tmp_path, samples(), int8="fast"), tmp_path)
    assert recipe.figures.speedup > 1
    assert set(recipe.operators.values()) == {"static"}  # what the made-up device likes best
    (tmp_path / "r.json").write_bytes(to_json(recipe))
    again = job(tmp_path, None, no_race, int8_recipe=(str(tmp_path / "r.json"),))
    found, replayed = write(again, tmp_path, "again.onnx")
    assert found == recipe
    assert replayed.read_bytes() == path.read_bytes()


def test_a_second_search_is_answered_from_the_cache(tmp_path):
    recipe, path = write(job(tmp_path, samples(), int8="fast"), tmp_path)
    again, second = write(job(tmp_path, samples(), no_race, int8="fast"), tmp_path, "b.onnx")
    assert again == recipe
    assert second.read_bytes() == path.read_bytes()
    with pytest.raises(AssertionError, match="measured twice"):
        write(job(tmp_path, samples(), no_race, int8="fast", cache=False), tmp_path)
    with pytest.raises(AssertionError, match="measured twice"):  # other samples, another search
        write(job(tmp_path, samples(seed=9), no_race, int8="fast"), tmp_path)


def test_a_remembered_search_that_makes_another_file_is_made_again(tmp_path):
    recipe, _ = write(job(tmp_path, samples(), int8="fast"), tmp_path)
    (kept,) = cache_folder().iterdir()
    kept.write_bytes(to_json(recipe.model_copy(update={"file_sha256": "1" * 64})))
    with pytest.raises(AssertionError, match="measured twice"):
        write(job(tmp_path, samples(), no_race, int8="fast"), tmp_path)


def test_a_recipe_that_makes_another_file_is_refused_with_both_sets_of_versions(tmp_path):
    recipe, path = write(job(tmp_path, None, no_race, int8="weights"), tmp_path)
    assert recipe.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert recipe.versions.keys() == {"edgekd", "onnx", "onnxruntime"}
    other = tmp_path / "r.json"
    again = {"int8_recipe": (str(other),)}
    versions = {**recipe.versions, "onnx": "0.1"}

    other.write_bytes(to_json(recipe.model_copy(update={"versions": versions})))
    write(job(tmp_path, None, no_race, **again), tmp_path)  # the same bytes after all

    strange = {"versions": versions, "file_sha256": "1" * 64}
    other.write_bytes(to_json(recipe.model_copy(update=strange)))
    said = rf"onnx 0\.1, .*; here are .*onnx {onnx.__version__}, .* which write another file"
    with pytest.raises(ConfigError, match=said):
        write(job(tmp_path, None, no_race, **again), tmp_path)

    unknown = {"versions": versions, "file_sha256": None}  # nothing to hold it against
    other.write_bytes(to_json(recipe.model_copy(update=unknown)))
    with pytest.raises(ConfigError, match="which may write another file"):
        write(job(tmp_path, None, no_race, **again), tmp_path)


def test_the_recipe_says_where_it_was_measured_and_what_for(tmp_path):
    pi = target("arm", "1.30.0", board="Raspberry Pi 5", cpu=None, arch="aarch64")
    recipe, _ = write(job(tmp_path, samples(), device=pi, int8="fast", num_threads=4), tmp_path)
    where = recipe.measured_on
    assert (where.name, where.machine, where.arch) == ("rpi", "Raspberry Pi 5", "aarch64")
    assert (where.runtime, where.num_threads) == ("onnxruntime 1.30.0", 4)
    assert recipe.processor == "arm"
    named, _ = write(job(tmp_path, None, no_race, int8="weights"), tmp_path)
    assert named.measured_on is None  # nothing was


def test_a_second_search_for_a_board_is_answered_from_the_cache(tmp_path):
    fast = {"int8": "fast", "search_seconds": 0}
    recipe, _ = write(job(tmp_path, samples(), device=target(board="Pi"), **fast), tmp_path)
    again, _ = write(job(tmp_path, samples(), no_race, target(board="Pi"), **fast), tmp_path)
    assert again == recipe
    for other in (target(board="Pi", version="1.1"), target(board="Other")):
        with pytest.raises(AssertionError, match="measured twice"):
            write(job(tmp_path, samples(), no_race, other, **fast), tmp_path)


def test_a_board_that_is_lost_in_the_search_leaves_no_file(tmp_path):
    races = []

    def lost_race(files, *, num_threads, seconds):
        races.append(files)
        if len(races) == 2:
            raise DeviceError("rpi: the connection ended")
        return flat_race(files, num_threads=num_threads, seconds=seconds)

    with pytest.raises(DeviceError, match="the connection ended"):
        write(job(tmp_path, samples(), lost_race, int8="fast"), tmp_path)
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize(
    ("mode", "precision"), [("weights", "int8-weights"), ("dynamic", "int8-dynamic")]
)
def test_kinds_without_ranges_need_no_data(tmp_path, mode, precision):
    recipe, path = write(job(tmp_path, None, no_race, int8=mode), tmp_path)
    assert (recipe.mode, recipe.ranges) == (mode, {})
    assert audit_file(path).precision == precision


def test_a_recipe_of_another_file_is_refused(tmp_path):
    recipe, _ = write(job(tmp_path, None, no_race, int8="weights"), tmp_path)
    stranger = tmp_path / "r.json"
    stranger.write_bytes(to_json(recipe.model_copy(update={"source_sha256": "1" * 64})))
    with pytest.raises(ConfigError, match="made for another fp32 file"):
        write(job(tmp_path, None, no_race, int8_recipe=(str(stranger),)), tmp_path)


def test_a_recipe_that_names_other_operators_is_refused(tmp_path):
    recipe, _ = write(job(tmp_path, None, no_race, int8="weights"), tmp_path)
    operators = {**recipe.operators, "ghost": "static"}
    path = tmp_path / "r.json"
    path.write_bytes(to_json(recipe.model_copy(update={"operators": operators})))
    with pytest.raises(ConfigError, match="does not fit the graph at 'ghost'"):
        write(job(tmp_path, None, no_race, int8_recipe=(str(path),)), tmp_path)


def test_a_recipe_without_the_ranges_it_needs_is_refused(tmp_path):
    recipe, _ = write(job(tmp_path, samples(), int8="full"), tmp_path)
    path = tmp_path / "r.json"
    path.write_bytes(to_json(recipe.model_copy(update={"ranges": {}})))
    with pytest.raises(ConfigError, match="no range"):
        write(job(tmp_path, None, no_race, int8_recipe=(str(path),)), tmp_path)


@pytest.mark.parametrize(
    "feeds",
    [
        samples(1),
        {"image": np.zeros((8, *SHAPE), np.float32)},
        {"image": np.full((8, *SHAPE), 3.0, np.float32)},
    ],
    ids=["one image", "black images", "constant images"],
)
def test_poor_calibration_still_gives_a_file_that_answers(tmp_path, feeds):
    work = job(tmp_path, feeds, int8="full")
    recipe, path = write(work, tmp_path)
    rows = len(feeds["image"])
    assert f"ranges were set from {rows} sample{'' if rows == 1 else 's'} only" in recipe.notes
    expected, found = (answers(p, samples(4), batch=2) for p in (work.fp32, path))
    assert np.isfinite(found).all()
    assert signal_to_noise(expected, found) > -10


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
