import numpy as np
import pytest

from edgekd.export.quantization.tflite_scales import LARGEST_RATIO, ScaleRule, ScaleRules


def rules(*found, sources=None):
    made = object.__new__(ScaleRules)
    made._rules, made._sources = found, sources or {}
    return made


ADD = ScaleRule(scope="add", adds=True, inputs=("a", "b"), output="sum")
CONV = ScaleRule(scope="conv", adds=False, inputs=("x",), output="y", weights=0.01)


def ratio(ranges, name, other):
    width = {key: high - low for key, (low, high) in ranges.items()}
    return width[name] / width[other]


def test_an_addend_that_does_not_count_is_widened_to_a_thousandth_of_the_sum():
    ranges = {"a": (-1e-4, 3e-4), "b": (-1.0, 3.0), "sum": (-1.0, 3.0)}
    found = rules(ADD).widened(ranges, {"add"})
    assert ratio(found, "a", "sum") == pytest.approx(1.01 * 2**-10)
    assert found["a"][0] / found["a"][1] == pytest.approx(-1 / 3)  # the zero point stays
    assert (found["b"], found["sum"]) == (ranges["b"], ranges["sum"])


def test_a_dead_addend_gets_a_range():
    found = rules(ADD).widened({"a": (0.0, 0.0), "b": (0.0, 1.0), "sum": (0.0, 1.0)}, {"add"})
    assert found["a"] == (0.0, pytest.approx(1.01 * 2**-10))


def test_a_sum_in_which_everything_cancels_is_widened():
    found = rules(ADD).widened({"a": (0.0, 1.0), "b": (-1.0, 0.0), "sum": (0.0, 1e-6)}, {"add"})
    assert ratio(found, "a", "sum") == pytest.approx(LARGEST_RATIO)


def test_a_dead_product_is_widened_to_what_its_input_and_weights_can_make():
    found = rules(CONV).widened({"x": (0.0, 255.0), "y": (0.0, 0.0)}, {"conv"})
    assert found["y"] == (0.0, pytest.approx(255 * 0.01 / LARGEST_RATIO))


def test_ranges_that_fit_are_left_alone():
    ranges = {"a": (0.0, 1.0), "b": (-1.0, 0.0), "sum": (-1.0, 1.0), "x": (0.0, 1.0)}
    assert rules(ADD, CONV).widened({**ranges, "y": (-1.0, 1.0)}, {"add", "conv"}) == {
        **ranges, "y": (-1.0, 1.0),
    }  # fmt: skip


def test_operators_in_float_ask_for_nothing():
    ranges = {"a": (0.0, 0.0), "b": (0.0, 1.0), "sum": (0.0, 1.0)}
    assert rules(ADD).widened(ranges, {"conv"}) == ranges


def test_what_was_only_moved_shares_the_scale_of_its_source():
    ranges = {"a": (0.0, 0.0), "b": (0.0, 1.0), "sum": (0.0, 1.0), "before": (0.0, 0.0)}
    found = rules(ADD, sources={"a": "before"}).widened(ranges, {"add"})
    assert found["before"] == found["a"] != (0.0, 0.0)


def test_a_chain_settles():
    later = ScaleRule(scope="later", adds=True, inputs=("sum", "c"), output="total")
    ranges = {
        "a": (0.0, 0.0), "b": (0.0, 1e-9), "sum": (0.0, 1e-9), "c": (0.0, 1.0), "total": (0.0, 1.0),
    }  # fmt: skip
    found = rules(ADD, later).widened(ranges, {"add", "later"})
    least = 1.01 * 2**-10 * (1 - 1e-9)
    for addend, total in (("a", "sum"), ("b", "sum"), ("sum", "total"), ("c", "total")):
        assert least <= ratio(found, addend, total) < 256


def test_rules_of_a_real_model(exported):
    from edgekd.export.tflite_schema import operator_name, read_tflite

    model = read_tflite(exported.folder / "student.tflite")
    operators = model.subgraphs[0].operators
    names = [operator_name(model, op) for op in operators]
    found = ScaleRules(model, [str(i) for i in range(len(operators))])._rules
    assert sum(rule.adds for rule in found) == names.count("ADD")
    products = sum(map(names.count, ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")))
    with_weights = [rule for rule in found if not rule.adds]
    assert len(with_weights) == products
    assert all(0 < rule.weights < np.inf and len(rule.inputs) == 1 for rule in with_weights)
