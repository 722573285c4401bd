import pytest

from benchmarks import commands

VAL = {"name": "top1", "value": 0.9, "split": "val", "num_samples": 250}
TEST = {"name": "top1", "value": 0.8, "split": "test", "num_samples": 260}


def record(*metrics):
    return {"metrics": list(metrics), "provenance": {"data": {"source": "signs.zip"}}}


def test_the_test_figure_is_found_wherever_it_stands():
    recall = TEST | {"name": "recall_at_1", "value": 0.5}
    assert commands.test_top1(record(VAL, recall, TEST)) == 0.8
    assert commands.test_metric(record(VAL, recall, TEST), "recall_at_1") == recall


def test_a_tuning_run_is_told_apart_from_a_finished_one():
    with pytest.raises(SystemExit, match=r"signs\.zip has no top1 on the test split"):
        commands.test_top1(record(VAL))
