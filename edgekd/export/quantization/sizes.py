"""How large an int8 file may be: one limit, for the search and for the gate."""

from typing import Final

LARGEST_SHARE: Final = 0.4
"""Of the fp32 file's bytes."""
SMALL_BYTES: Final = 400_000
"""Of fp32 files; in smaller ones the graph, and what quantizers add to it, is most of the file."""


def size_problem(int8_bytes: int, fp32_bytes: int) -> str | None:
    """Why an int8 file is refused for its size; ``None`` where it is not.

    >>> size_problem(400_000, 1_000_000), size_problem(90, 100)
    (None, None)
    >>> size_problem(500_000, 1_000_000)
    'its size is 50.0% of fp32, allowed are 40%: some weights cannot be stored in 8 bits'
    """
    if fp32_bytes < SMALL_BYTES or int8_bytes <= LARGEST_SHARE * fp32_bytes:
        return None
    return (
        f"its size is {int8_bytes / fp32_bytes:.1%} of fp32, allowed are {LARGEST_SHARE:.0%}: "
        "some weights cannot be stored in 8 bits"
    )
