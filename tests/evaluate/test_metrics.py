import numpy as np
import pytest

from edgekd.evaluate.metrics import metric_from_logits


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
