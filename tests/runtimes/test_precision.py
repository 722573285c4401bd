import pytest

from edgekd.runtimes.precision import file_precision


@pytest.mark.parametrize(
    ("kinds", "precision"),
    [
        ([], "fp32"),
        (["fp32", "fp32"], "fp32"),
        (["fp16", "fp32"], "fp16"),
        (["int8", "int8"], "int8-static"),
        (["int8", "fp32"], "int8-mixed"),
        (["int8", "int8-dynamic"], "int8-mixed"),
        (["int8-dynamic", "fp32"], "int8-dynamic"),
        (["int8-weights", "fp32"], "int8-weights"),
    ],
)
def test_a_file_is_the_sum_of_its_operators(kinds, precision):
    assert file_precision(kinds) == precision
