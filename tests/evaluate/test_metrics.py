import numpy as np
import pytest

from edgekd.data.roles import Roles
from edgekd.evaluate.metrics import metric_from_logits, metrics_of


def test_top1_by_hand():
    logits = np.array([[3.0, 1.0, 0.0], [0.0, 5.0, 1.0], [9.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    metric = metric_from_logits(logits, np.array([0, 1, 2, 2]), split="val")
    assert (metric.name, metric.value, metric.split, metric.num_samples) == ("top1", 0.75, "val", 4)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((0, 2)), np.zeros(0, int)),
        (np.zeros(3), np.zeros(3, int)),
        (np.zeros((2, 3)), np.zeros(3, int)),
        (np.array([[np.nan, 1.0]]), np.zeros(1, int)),
    ],
)
def test_a_metric_of_nothing_or_nan_is_an_error(logits, labels):
    with pytest.raises(ValueError, match=r"expected|NaN"):
        metric_from_logits(logits, labels, split="test")


def test_each_task_has_its_metrics_and_the_first_stands_for_it():
    labels = np.array([0, 0, 1, 1])
    (only,) = metrics_of("classification", np.eye(2)[labels], labels, None, split="val")
    assert (only.name, only.value) == ("top1", 1.0)
    found = metrics_of("retrieval", np.eye(2)[labels], labels, None, split="test")
    assert [(m.name, m.value) for m in found] == [
        ("mean_ap", 1.0),
        ("recall_at_1", 1.0),
        ("recall_at_5", 1.0),
        ("recall_at_10", 1.0),
    ]
    assert {(m.split, m.num_samples) for m in found} == {("test", 4)}


def test_a_retrieval_metric_counts_the_queries_that_had_something_to_find():
    embeddings, labels = np.eye(2)[[0, 0, 1]], np.array([0, 0, 1])
    assert metrics_of("retrieval", embeddings, labels, None, split="val")[0].num_samples == 2
    cameras = np.array([0, 1, 0])
    by_camera = metrics_of("retrieval", embeddings, labels, cameras, split="val")
    assert by_camera[0].num_samples == 2
    roles = Roles.of(["query", "gallery", "gallery"])
    assert metrics_of("retrieval", embeddings, labels, None, roles, split="val")[0].num_samples == 1
