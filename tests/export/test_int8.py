import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from int8_jobs import flat_race, job, no_race, target, write
from small_onnx import SHAPE, samples

from edgekd.bundle import to_json
from edgekd.errors import ConfigError, DeviceError
from edgekd.export import int8
from edgekd.export.audit import audit_file
from edgekd.export.quantization.cache import cache_folder
from edgekd.export.quantization.candidates import answers
from edgekd.export.sqnr import sqnr_db


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def others(monkeypatch):
    """What other processes keep busy; tests may run beside some."""
    cores = [0.0]
    monkeypatch.setattr(int8, "OtherLoad", lambda: SimpleNamespace(cores=lambda: cores[0]))
    return cores


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


def test_an_answer_from_the_cache_says_so_and_what_speaks_against_it(tmp_path):
    recipe, _ = write(job(tmp_path, samples(), int8="fast"), tmp_path)
    told = []
    again = replace(job(tmp_path, samples(), no_race, int8="fast"), tell=told.append)
    write(again, tmp_path, "b.onnx")
    assert told == ["b.onnx: as an earlier search found it (--no-cache: search again)"]
    (kept,) = cache_folder().iterdir()
    late = "--search-seconds left no time to try smoothing"
    kept.write_bytes(to_json(recipe.model_copy(update={"notes": (late,)})))
    write(again, tmp_path, "b.onnx")
    assert told[1:] == [
        f"b.onnx: as an earlier search found it, when {late}; --no-cache searches again"
    ]


@pytest.mark.parametrize(("name", "is_noted"), [("local", True), ("rpi", False)])
def test_a_search_beside_other_work_is_doubted(tmp_path, others, name, is_noted):
    """On a board candidates are timed elsewhere."""
    others[0] = 0.94
    told = []
    first = replace(job(tmp_path, samples(), int8="fast"), tell=told.append)
    info = first.target.info.model_copy(update={"name": name})
    first = replace(first, target=replace(first.target, info=info))
    recipe, _ = write(first, tmp_path)
    note = "other work kept 0.9 cores busy while candidates were timed"
    assert (note in recipe.notes) == is_noted
    write(first, tmp_path, "b.onnx")
    assert (f"when {note}; --no-cache searches again" in told[-1]) == is_noted


def test_a_search_that_was_asked_for_replaces_what_is_remembered(tmp_path):
    write(job(tmp_path, samples(), int8="fast"), tmp_path)
    (kept,) = cache_folder().iterdir()
    before = kept.read_bytes()
    kept.write_bytes(b"{}")
    write(job(tmp_path, samples(), int8="fast", cache=False), tmp_path)
    assert len(kept.read_bytes()) > len(before) / 2


def test_what_knows_learned_ranges_is_not_remembered(tmp_path):
    write(replace(job(tmp_path, samples(), int8="fast"), remembers=False), tmp_path)
    assert not cache_folder().exists()


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
def test_poor_calibration_gives_a_file_that_is_right_on_what_it_was_calibrated_with(
    tmp_path, feeds
):
    work = job(tmp_path, feeds, int8="full")
    recipe, path = write(work, tmp_path)
    rows = len(feeds["image"])
    assert f"ranges were set from {rows} sample{'' if rows == 1 else 's'} only" in recipe.notes
    seen, found = (answers(p, feeds, batch=2) for p in (work.fp32, path))
    assert sqnr_db(seen, found) > 30
    assert np.isfinite(answers(path, samples(4), batch=2)).all()  # whatever else it is shown
