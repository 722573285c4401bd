import json

import pytest

from benchmarks import commands


def test_the_named_figure_of_the_test_split_is_taken():
    metrics = [
        {"name": "mean_ap", "value": 0.5, "split": "val"},
        {"name": "recall_at_1", "value": 0.75, "split": "test"},
        {"name": "mean_ap", "value": 0.25, "split": "test"},
    ]
    assert commands.test_metric({"metrics": metrics}, "mean_ap") == 0.25
    with pytest.raises(SystemExit, match="no top1 on the test split: it was made with --no-score"):
        commands.test_top1({"metrics": metrics})


def test_a_row_tells_files_outside_the_project_by_their_names(tmp_path):
    record = {
        "recipe": {"data": "/home/me/signs.zip", "teacher": "runs/teacher", "weights": None},
        "provenance": [{"data": {"source": "../../elsewhere/signs.zip", "num_samples": 3}}],
        "board": "/proc/device-tree/model says nothing",
    }
    commands.append(tmp_path / "results.jsonl", {"seed": 0}, record)
    (line,) = (tmp_path / "results.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "seed": 0,
        "recipe": {"data": "signs.zip", "teacher": "runs/teacher", "weights": None},
        "provenance": [{"data": {"source": "signs.zip", "num_samples": 3}}],
        "board": "/proc/device-tree/model says nothing",
    }


@pytest.mark.parametrize(
    "results",
    sorted((commands.ROOT / "benchmarks").rglob("*.jsonl")),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_no_published_result_says_where_a_machine_keeps_its_files(results):
    for line in results.read_text().splitlines():
        row = json.loads(line)
        assert commands.without_places(row) == row
