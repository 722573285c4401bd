import pytest

from edgekd.export.quantization.sizes import SMALL_BYTES, size_problem


@pytest.mark.parametrize(
    ("int8_bytes", "fp32_bytes", "said"),
    [
        (800_000, 2_000_000, None),
        (800_001, 2_000_000, "its size is 40.0% of fp32, allowed are 40.0%"),
        (324_672, 683_516, None),  # a pruned network of 38 convolutions, all its weights in 8 bits
        (251_072, 400_000, None),  # 30 % and 128 KiB for the graph
        (251_073, 400_000, "its size is 62.8% of fp32, allowed are 62.8%"),
        (1_999_999, 2_000_000, "its size is 100.0% of fp32"),
        (SMALL_BYTES, SMALL_BYTES - 1, None),  # the graph outweighs the weights
    ],
)
def test_two_fifths_of_fp32_are_allowed(int8_bytes, fp32_bytes, said):
    found = size_problem(int8_bytes, fp32_bytes)
    assert found is None if said is None else found.startswith(said)
