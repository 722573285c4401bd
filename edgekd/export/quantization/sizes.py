"""How large an int8 file may be: one limit, for the search and for the gate."""

from typing import Final

SMALL_BYTES: Final = 400_000
"""Of fp32 files; in smaller ones the graph, and what quantizers add to it, is most of the file."""
_LARGEST_SHARE: Final = 0.4  # of the fp32 file's bytes
_WEIGHTS_SHARE: Final = 0.3  # a quarter, and scales
_GRAPH_BYTES: Final = 1 << 17
"""Names, scales and the embedded record: beside the weights of a pruned network of 38
convolutions they weigh 177 kB in int8 and 79 kB in fp32."""

_SLACK: Final = 0.99  # of the bytes that the gate allows: packing a file again may add some
_OVERHEAD_BYTES: Final = 1 << 16  # that quantizers may add to the graph of a file
_MOST_IN_INT8: Final = 0.5  # of the bytes of weights


def largest_bytes(fp32_bytes: int) -> int | None:
    """What an int8 file may weigh: two fifths of fp32, or its weights and a graph; ``None``: all.

    >>> largest_bytes(10_000_000), largest_bytes(500_000), largest_bytes(90)
    (4000000, 281072, None)
    """
    if fp32_bytes < SMALL_BYTES:
        return None
    return int(max(_LARGEST_SHARE * fp32_bytes, _WEIGHTS_SHARE * fp32_bytes + _GRAPH_BYTES))


def candidate_bytes(*, fp32: int, stored: int | None, reserved: int) -> int | None:
    """What a candidate in the search may weigh; ``None``: all.

    Args:
        fp32: Bytes of the fp32 file.
        stored: Of the file whose weights alone are in 8 bits, where it could be made. Where the
            limit is less than that, as for a graph of many small operators, and where there is no
            limit, a candidate may be about as large.
        reserved: For what is put into the file after the search.

    >>> candidate_bytes(fp32=10_000_000, stored=3_000_000, reserved=1_000)
    3959000
    >>> candidate_bytes(fp32=10_000_000, stored=5_000_000, reserved=1_000)
    5065536
    """
    largest = largest_bytes(fp32)
    limit = None if largest is None else int(_SLACK * largest) - reserved
    if stored is not None and (limit is None or stored > limit):
        return stored + _OVERHEAD_BYTES
    return limit


def size_problem(int8_bytes: int, fp32_bytes: int, int8_share: float) -> str | None:
    """Why an int8 file is refused for its size; ``None`` where it is not.

    Args:
        int8_bytes: Of the file.
        fp32_bytes: Of its fp32 twin.
        int8_share: Of the bytes of its weights, those in 8 bits. Half of them are four fifths of
            the weights, which then take two fifths of what they took: what the file weighs beyond
            the limit is its graph, as of a network of many small operators.

    >>> size_problem(400_000, 1_000_000, 0.0), size_problem(90, 100, 0.0)
    (None, None)
    >>> size_problem(1_000_000, 2_000_000, 0.4)
    'its size is 50.0% of fp32, allowed are 40.0%: some weights are not stored in 8 bits'
    >>> size_problem(1_000_000, 2_000_000, 0.9)
    """
    allowed = largest_bytes(fp32_bytes)
    if allowed is None or int8_bytes <= allowed or int8_share >= _MOST_IN_INT8:
        return None
    return (
        f"its size is {int8_bytes / fp32_bytes:.1%} of fp32, allowed are "
        f"{allowed / fp32_bytes:.1%}: some weights are not stored in 8 bits"
    )
