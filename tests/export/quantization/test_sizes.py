import pytest

from edgekd.export.quantization.sizes import SMALL_BYTES, size_problem


@pytest.mark.parametrize(
    ("int8_bytes", "fp32_bytes", "said"),
    [
        (400_000, 1_000_000, None),
        (400_001, 1_000_000, "its size is 40.0% of fp32, allowed are 40.0%"),
        (185_536, 400_000, None),  # 30 % and 64 KiB for the graph
        (185_537, 400_000, "its size is 46.4% of fp32, allowed are 46.4%"),
        (999_999, 1_000_000, "its size is 100.0% of fp32"),
        (SMALL_BYTES, SMALL_BYTES - 1, None),  # the graph outweighs the weights
    ],
)
def test_two_fifths_of_fp32_are_allowed(int8_bytes, fp32_bytes, said):
    found = size_problem(int8_bytes, fp32_bytes)
    assert found is None if said is None else found.startswith(said)
