import pytest

from edgekd.bench.run import bench
from edgekd.bench.unfinished import UNFINISHED_FILE, Unfinished
from edgekd.config import BenchRecipe

QUICK = {"num_calls": 5, "min_seconds": 0.0, "num_warmup": 0}
RECIPE = BenchRecipe(**QUICK)


@pytest.fixture
def measured(exported, console):
    return bench([exported / "student.tflite"], RECIPE, console)[0]


def find(unfinished, m):
    return unfinished.find(m.model_sha256, m.file, m.device, m.num_threads)


def test_what_was_added_is_found_by_the_next_bench_of_the_recipe(tmp_path, measured):
    Unfinished(tmp_path, RECIPE, "data").add(measured)
    again = Unfinished(tmp_path, RECIPE, "data")
    assert find(again, measured) == measured
    assert again.find(measured.model_sha256, measured.file, "rpi", 1) is None
    assert again.find("0" * 64, measured.file, measured.device, 1) is None


def test_more_devices_and_threads_are_the_same_recipe(tmp_path, measured):
    Unfinished(tmp_path, RECIPE, None).add(measured)
    more = BenchRecipe(device=("local", "rpi"), num_threads=(1, 4), wheels="w", **QUICK)
    assert find(Unfinished(tmp_path, more, None), measured) == measured


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({"num_calls": 6}, "data"),
        ({}, "other"),
        ({"num_samples": 3}, "data"),
        ({"missing": ("acc",)}, "data"),
    ],
)
def test_another_recipe_or_other_data_begin_anew(tmp_path, measured, changes, data):
    Unfinished(tmp_path, RECIPE, "data").add(measured)
    other = Unfinished(tmp_path, BenchRecipe(**{**QUICK, **changes}), data)
    assert len(other) == 0
    other.add(measured)  # and replaces the file
    assert len(Unfinished(tmp_path, RECIPE, "data")) == 0


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 100, b'{"plan": 1}\n'])
def test_a_file_that_is_none_is_measured_again(tmp_path, content):
    (tmp_path / UNFINISHED_FILE).write_bytes(content)
    assert len(Unfinished(tmp_path, RECIPE, None)) == 0


def test_a_complete_bench_leaves_nothing(tmp_path, measured):
    unfinished = Unfinished(tmp_path, RECIPE, None)
    unfinished.add(measured)
    unfinished.complete()
    unfinished.complete()
    assert not (tmp_path / UNFINISHED_FILE).exists()
