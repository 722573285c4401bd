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
    found = size_problem(int8_bytes, fp32_bytes, 0.0)
    assert found is None if said is None else found.startswith(said)


@pytest.mark.parametrize(
    ("in_int8", "is_refused"),
    [
        (0.79, True),
        (0.8, False),  # 0.8 + 0.2 x 4 bytes of each 4: two fifths, half of them in 8 bits
        (1.0, False),
    ],
)
def test_a_file_of_mostly_graph_is_judged_by_its_weights(in_int8, is_refused):
    bytes_per_weight = in_int8 + 4 * (1 - in_int8)
    found = size_problem(391_904, 666_572, in_int8 / bytes_per_weight)
    assert (found is not None) == is_refused
