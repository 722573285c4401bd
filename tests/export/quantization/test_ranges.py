import numpy as np
import pytest

from edgekd.export.quantization.ranges import (
    METHODS,
    RangeCollector,
    Sample,
    best_range,
    entropy,
    mean_squared_error,
    min_max,
    percentile,
    rounding_error,
)

RNG = np.random.default_rng(0)
BELL = RNG.standard_normal(20_000).astype(np.float32)


def test_extremes_are_exact_over_all_batches():
    collector = RangeCollector(seed=0, per_batch=1)
    for values in ([1.0, 2.0], [-3.0, 0.5], [0.0, 7.0]):
        collector.add("x", np.float32(values))
    collector.add("empty", np.zeros((0, 3), np.float32))
    assert collector.extremes() == {"x": (-3.0, 7.0)}


def test_the_padding_of_a_pooling_is_no_value():
    collector = RangeCollector(seed=0, per_batch=10)
    collector.add("x", np.float32([1.0, -np.inf, 2.0, -3.3e38, np.nan]))
    collector.add("all", np.float32([np.inf]))
    assert collector.extremes() == {"x": (1.0, 2.0)}


def test_what_saturates_and_what_never_changes_is_known():
    collector = RangeCollector(seed=0, per_batch=1000)
    collector.add("ramp", np.arange(1000, dtype=np.float32))
    collector.add("dead", np.zeros(10, np.float32))
    shares = collector.clipped({"ramp": (0.0, 899.0), "dead": (0.0, 0.0)})
    assert shares["ramp"] == pytest.approx(0.1, abs=0.03)  # a sample of the values
    assert shares["dead"] == 0.0
    assert collector.constant() == ["dead"]


def test_what_is_rounded_to_an_end_does_not_saturate():
    collector = RangeCollector(seed=0, per_batch=1000)
    collector.add("relu", np.float32([0.0] * 100 + [100.4] * 300 + [101.0] * 100))
    # steps of 100 / 255: half of one is 0.2
    assert collector.clipped({"relu": (0.0, 100.0)}) == {"relu": 0.8}
    assert collector.clipped({"relu": (0.0, 100.25)}) == {"relu": 0.2}


def test_a_few_values_keep_their_extremes():
    collector = RangeCollector(seed=0, per_batch=10)
    collector.add("x", np.float32([-1.0, 4.0]))
    assert collector.best() == {"x": (-1.0, 4.0)}


def test_rounding_error_is_a_twelfth_of_the_squared_step_inside_the_range():
    values = RNG.uniform(0, 255 * 0.5, 200_000)
    assert rounding_error(values, (0.0, 127.5)) == pytest.approx(0.5**2 / 12, rel=0.02)


def test_what_is_clipped_errs_by_its_distance():
    assert rounding_error(np.float32([10, 10]), (0.0, 4.0)) == pytest.approx(36)
    assert rounding_error(np.float32([3.0]), (0.0, 0.0)) == pytest.approx(9)


def test_no_method_leaves_the_extremes():
    for name, method in METHODS.items():
        low, high = method(Sample(BELL, (-6.0, 8.0), len(BELL)))
        assert -6.0 <= low <= high <= 8.0, name


def test_one_far_outlier_is_cut_off_by_all_but_min_max():
    extremes = (float(BELL.min()), 400.0)
    seen = Sample(BELL, extremes, 1_000_000)
    assert min_max(seen) == extremes
    assert percentile(seen)[1] < 6
    for method in (mean_squared_error, entropy):
        assert method(seen)[1] < 240


def test_the_best_range_errs_no_more_than_any_method():
    extremes = (float(BELL.min()), float(BELL.max()))
    found = rounding_error(BELL, best_range(BELL, extremes, len(BELL)))
    tried = [method(Sample(BELL, extremes, len(BELL))) for method in METHODS.values()]
    assert found <= 1.05 * min(rounding_error(BELL, limits) for limits in tried)


def test_an_outlier_that_was_seen_is_not_forgotten_where_it_matters():
    # 255 steps over 0..1 err less in total than cutting 100 off: the outlier stays
    values = np.zeros(1000, np.float32)
    assert best_range(values, (0.0, 100.0), 1000)[1] == 100.0


def collected(values, **how):
    """The best range of values that come in a hundred batches."""
    collector = RangeCollector(seed=0, per_batch=200)
    for batch in np.split(values.astype(np.float32), 100):
        collector.add("x", batch)
    return collector.best(**how)["x"]


def test_one_outlier_among_a_million_is_cut_off():
    values = np.random.default_rng(1).standard_normal(1_000_000)
    values[500_000] = 200.0
    # 255 steps over 204 err by 0.8^2 / 12 = 0.05 a value, one value cut off at 6 by
    # 194^2 / 1e6 = 0.04 and the rest by 0.0002
    assert collected(values)[1] < 0.6 * 200


def test_outliers_count_for_more_where_caution_is_asked_for():
    values = np.random.default_rng(1).standard_normal(1_000_000)
    values[500_000] = 200.0  # as one of 10,000 it would cost 3.8 a value to cut it off
    assert collected(values, of_at_most=10_000)[1] > 190
    few = np.random.default_rng(1).standard_normal(2000)
    assert collected(few, of_at_most=10_000) == collected(few)


def test_one_outlier_among_few_values_stays():
    values = np.random.default_rng(1).standard_normal(2000)
    values[1000] = 20.0  # cut off at 5 it costs 225 / 2000 = 0.1 a value; steps of 0.1 cost 0.0008
    assert collected(values)[1] > 18


def test_a_bulk_of_large_values_is_not_cut_off():
    values = np.random.default_rng(1).standard_normal(1_000_000)
    values[::500] = np.linspace(100, 200, 2000)  # 0.2 % of all
    assert collected(values)[1] > 180
