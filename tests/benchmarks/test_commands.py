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
