from types import SimpleNamespace

import pytest

from edgekd.config import ExportRecipe
from edgekd.export.shortfall import better, outcome, shortfall


def verdict(file, drop, problems=(), *, strict=(), fallback=None, int8=True, compared=True):
    figures = SimpleNamespace(fallback=fallback)
    parity = SimpleNamespace(metric_drop=drop, num_samples=1000)
    return SimpleNamespace(
        candidate=SimpleNamespace(
            int8=int8, strict_problems=strict, int8_recipe=SimpleNamespace(figures=figures)
        ),
        file=file,
        model=SimpleNamespace(parity=parity) if compared else None,
        metric_drop=drop,
        problems=problems,
    )


def test_the_file_that_loses_most_says_why():
    recipe = ExportRecipe(int8="full", max_drop_points=0.5)
    verdicts = [
        verdict("a.onnx", 0.0, int8=False, problems=("a logit differs",)),
        verdict("a.int8.onnx", 0.007, problems=("top-1 drops",)),
        verdict("a.int8.tflite", 0.013, problems=("top-1 drops",)),
    ]
    expected = "a.int8.tflite: drop 1.3 points over the budget of 0.5"
    assert shortfall(verdicts, recipe) == expected


def test_other_limits_are_a_budget_too():
    recipe = ExportRecipe(int8="full", max_drop_points=2)
    problem = "SQNR is 7.0 dB, required is 20 dB"
    assert shortfall([verdict("a", 0.001, (problem,))], recipe) == f"a: {problem}"
    assert shortfall([verdict("a", None, (problem,))], recipe) == f"a: {problem}"


def test_a_search_that_took_nothing_counts_where_full_int8_would_be_refused():
    recipe = ExportRecipe(int8="fast")
    slow = verdict("a", 0.0, fallback="nothing was faster")
    assert shortfall([slow], recipe) is None
    lossy = verdict("a", 0.0, fallback="nothing was faster", strict=("top-1 drops by 0.1",))
    expected = "a: with everything in int8, top-1 drops by 0.1"
    assert shortfall([lossy], recipe) == expected


def test_no_loss_is_as_large_as_answers_that_are_no_numbers():
    lossy = verdict("a", 0.9, ("top-1 drops",))
    broken = verdict("b", None, ("answers NaN",), compared=False)
    assert shortfall([lossy, broken], ExportRecipe(int8="full")) == "b: answers NaN"


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        (verdict("a", 0.1, ("too much",)), verdict("a", 0.0), "after"),
        (verdict("a", 0.1, ("too much",)), verdict("a", 0.05, ("still too much",)), "after"),
        (verdict("a", 0.0), verdict("a", 0.0), "after"),  # one network for both formats
        (verdict("a", 0.0), verdict("a", 0.1, ("worse",)), "before"),
        (verdict("a", 0.0), verdict("a", 0.0, fallback="nothing was faster"), "before"),
        (verdict("a", 0.0), None, "before"),
    ],
)
def test_a_recovered_file_is_taken_unless_the_first_one_is_better(before, after, taken):
    assert better(before, after) is (after if taken == "after" else before)


def test_what_became_of_a_file_is_said_in_words():
    assert outcome(verdict("a", 0.0123)) == "drop 1.2 points"
    assert outcome(verdict("a", None)) == "no metric to compare"
    slow = verdict("a", 0.0, ("SQNR is 7.0 dB",), fallback="nothing was faster")
    assert outcome(slow) == "drop 0.0 points, nothing in int8 is faster, SQNR is 7.0 dB"
