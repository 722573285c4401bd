from collections import Counter

from benchmarks.cdd.operator_timing import Operator, Timing
from benchmarks.cdd.operators import table


def test_the_table_sums_operators_and_says_what_the_macs_promise():
    convolution = "convolutions at 12 x 12"
    dense = Timing(110.0, (Operator("Conv", 144, 60.0), Operator("Conv", 144, 40.0)))
    pruned = Timing(
        88.0,
        (Operator("Conv", 144, 50.0), Operator("Conv", 144, 30.0), Operator("Relu", 0, 5.0)),
    )
    macs = [Counter({convolution: 4_000_000}), Counter({convolution: 1_000_000})]
    text = table("student.onnx", [dense, pruned], macs)
    assert "whole inference 110 µs dense, 88 µs CDD (1.25 times as fast)" in text
    assert "sums of the operators are 100 and 85 µs" in text
    # 4 M MACs in 100 µs are 40 G/s, 1 M in 80 µs 12.5
    assert f"| {convolution} (2, 2) | 100.0 | 80.0 | 20.0 | 1.25 | 4.00 | 40.0 | 12.5 |" in text
    assert "| Relu (0, 1) | 0.0 | 5.0 | -5.0 | 0.00 |  |  |  |" in text
