"""How large an int8 file may be: one limit, for the search and for the gate."""

from typing import Final

SMALL_BYTES: Final = 400_000
"""Of fp32 files; in smaller ones the graph, and what quantizers add to it, is most of the file."""
_LARGEST_SHARE: Final = 0.4  # of the fp32 file's bytes
_WEIGHTS_SHARE: Final = 0.3  # a quarter, and scales
_GRAPH_BYTES: Final = 1 << 17
"""Names, scales and the embedded record: beside the weights of a pruned network of 38
convolutions they weigh 177 kB in int8 and 79 kB in fp32."""


def largest_bytes(fp32_bytes: int) -> int | None:
    """What an int8 file may weigh: two fifths of fp32, or its weights and a graph; ``None``: all.

    >>> largest_bytes(10_000_000), largest_bytes(500_000), largest_bytes(90)
    (4000000, 281072, None)
    """
    if fp32_bytes < SMALL_BYTES:
        return None
    return int(max(_LARGEST_SHARE * fp32_bytes, _WEIGHTS_SHARE * fp32_bytes + _GRAPH_BYTES))


def size_problem(int8_bytes: int, fp32_bytes: int) -> str | None:
    """Why an int8 file is refused for its size; ``None`` where it is not.

    >>> size_problem(400_000, 1_000_000), size_problem(90, 100)
    (None, None)
    >>> size_problem(1_000_000, 2_000_000)
    'its size is 50.0% of fp32, allowed are 40.0%: some weights are not stored in 8 bits'
    """
    allowed = largest_bytes(fp32_bytes)
    if allowed is None or int8_bytes <= allowed:
        return None
    return (
        f"its size is {int8_bytes / fp32_bytes:.1%} of fp32, allowed are "
        f"{allowed / fp32_bytes:.1%}: some weights are not stored in 8 bits"
    )
