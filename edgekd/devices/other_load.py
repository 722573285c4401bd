"""How much of the machine others used while something was timed. Standard library only."""

import os
import time
from typing import Final

from edgekd.devices.probe import busy_seconds

_LEAST_SECONDS: Final = 0.5  # work of cores is counted in ticks of 10 ms


class OtherLoad:
    """Work of all cores since it was made, minus that of this process and its ended children."""

    def __init__(self) -> None:
        self._at_start = _now()

    def cores(self) -> float | None:
        """Cores that others kept busy; ``None`` over a time too short for the kernel's ticks."""
        now = _now()
        if now is None or self._at_start is None:
            return None
        wall, busy, own = (b - a for a, b in zip(self._at_start, now, strict=True))
        return max(0.0, (busy - own) / wall) if wall >= _LEAST_SECONDS else None


def _now() -> tuple[float, float, float] | None:
    """Wall time, work of all cores, and our own work, in seconds."""
    busy, own = busy_seconds(), sum(os.times()[:4])
    return None if busy is None else (time.monotonic(), busy, own)
