import json
import sys
from pathlib import Path

import pytest
from finished_run import finish

from benchmarks.lsskd import daily_sports
from benchmarks.lsskd.sensor_plan import ALONE, EXPORTED, FUSED, Plan
from edgekd.config import TrainRecipe, build_recipe


def plan(folder, **changes):
    given = {
        "data": Path("daily-sports.npz"),
        "runs": folder / "runs",
        "results": folder / "results.jsonl",
        "subjects": (1, 4),
        "common": {"num_threads": 1, "precision": "fp32"},
        "changes": {},
    }
    return Plan(**(given | changes))


def finish_all(found, **figures):
    for subject in found.subjects:
        for row in (*ALONE, *FUSED):
            finish(found.training(row, subject), **figures)


LOST = {"acc": 0.25, "gyro": 0.5, "mag": 0.625}


@pytest.fixture
def measured(monkeypatch):
    """Files without an export: how often they were measured."""
    times = []

    def edgekd(command, *flags):
        times.append(command)
        found = {"file": "student.onnx", "metric": {"value": 0.75}, "p50_ms": 2.5}
        if "--missing" not in flags:
            return [found]
        missing = flags[flags.index("--missing") + 1]
        return [{**found, "file": "student.int8.onnx", "metric": {"value": LOST[missing]}}]

    monkeypatch.setattr(daily_sports, "edgekd", edgekd)
    return times


@pytest.mark.parametrize(
    ("row", "method", "modalities"),
    [
        ("gyro alone, labels", "none", ("gyro",)),
        ("late fusion, labels", "none", ()),
        ("late fusion, lsskd", "lsskd", ()),
    ],
)
def test_the_recipe_of_a_row(tmp_path, row, method, modalities):
    training = plan(tmp_path, changes={"epochs": 5}).training(row, 1)
    recipe = build_recipe(TrainRecipe, recipe=training.file, assignments=training.assignments())
    assert (recipe.method, recipe.modalities, recipe.epochs) == (method, modalities, 5)
    assert (recipe.group, recipe.test_groups, recipe.val_groups) == ("subject", ("1",), ("8",))


def test_the_table_is_of_the_folders_and_not_of_what_was_noted_before(
    tmp_path, monkeypatch, measured
):
    monkeypatch.setattr(daily_sports, "without_one", lambda *_: [])
    for folder, top1 in (("runs", 0.25), ("again", 0.5)):
        found = plan(tmp_path, runs=tmp_path / folder)
        finish_all(found, top1=top1, weights=folder)
        rows = [row for subject in found.subjects for row in daily_sports.networks(found, subject)]
    text = daily_sports.table(found, rows)
    assert "| acc alone, labels | 50.00 ± 0.00 | 1.0 |  |" in text
    assert "25.00" not in text
    noted = [json.loads(line) for line in found.results.read_text().splitlines()]
    assert len(noted) == 2 * len(rows)


def test_files_are_measured_once_for_a_network_and_again_for_another(tmp_path, measured):
    found = plan(tmp_path, subjects=(1,))
    training = found.training(EXPORTED, 1)
    finish(training, weights="1" * 64)
    first = daily_sports.files(found, 1)
    assert first == daily_sports.files(found, 1)
    assert measured == ["export", "bench"]
    finish(training, weights="2" * 64)
    (again,) = daily_sports.files(found, 1)
    assert measured == ["export", "bench"] * 2
    assert (again["row"], again["weights_sha256"]) == ("file student.onnx", "2" * 64)
    assert len(found.results.read_text().splitlines()) == 2


def test_int8_files_are_also_measured_with_each_sensor_missing(tmp_path, measured):
    found = plan(tmp_path, subjects=(1,))
    finish_all(found)
    rows = daily_sports.files_without_one(found, 1)
    assert rows == daily_sports.files_without_one(found, 1)
    assert measured == ["export", "bench", "bench", "bench"]
    text = daily_sports.table(found, [*daily_sports.trained(found, EXPORTED, 1), *rows])
    for name, value in LOST.items():
        assert f"| file student.int8.onnx, without {name} | {100 * value:.2f} |  |  |" in text


def test_the_caption_names_what_differs_from_the_recipe(tmp_path, measured):
    found = plan(tmp_path, subjects=(1,), changes={"epochs": 5})
    finish_all(found)
    rows = [row for name in (*ALONE, *FUSED) for row in daily_sports.trained(found, name, 1)]
    text = daily_sports.table(found, [*rows, *daily_sports.files(found, 1)])
    assert "the recipe with `epochs` 5, last epoch" in text
    assert "| file student.onnx | 75.00 |  | 2.500 |" in text


@pytest.mark.parametrize(("flags", "suffix"), [((), ""), (("--quick",), "-quick")])
def test_a_smoke_run_has_a_folder_of_its_own(monkeypatch, flags, suffix):
    monkeypatch.setattr(sys, "argv", ["daily_sports", "--data", "x.npz", *flags])
    found, _ = daily_sports.parse()
    assert found.runs == Path(f"runs/lsskd-daily-sports{suffix}")
    assert (found.results.parent == found.runs) == bool(flags)


def test_a_finished_run_of_another_length_is_refused(tmp_path):
    finish_all(plan(tmp_path, changes={"epochs": 1}))
    with pytest.raises(SystemExit, match="epochs: 1 -> 40"):
        plan(tmp_path).training(EXPORTED, 1).check()
