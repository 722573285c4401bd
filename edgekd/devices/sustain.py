"""Calls without a pause for a long time: what heat does to latency. Standard library only."""

import statistics
import time
from collections.abc import Callable
from typing import Any, Final

from edgekd.devices.probe import frequency_mhz, temperature_c

_NUM_POINTS: Final = 100
_TENTH: Final = _NUM_POINTS // 10


def sustain(call: Callable[[], Any], *, seconds: float, beat: Callable[[], None]) -> dict[str, Any]:
    """A ``Sustained`` record as plain values.

    The time is cut into a hundred stretches of at least one call; temperature and frequency are
    read between two of them, never while the clock of a call runs.

    Args:
        call: One inference.
        seconds: How long, > 0.
        beat: Called between two stretches, to show that it is alive.
    """
    clock = time.perf_counter_ns
    began = clock()
    total = int(seconds * 1e9)
    stretches: list[list[int]] = []
    points: list[dict[str, Any]] = []
    while clock() - began < total:
        end = began + total * (len(stretches) + 1) // _NUM_POINTS
        latencies: list[int] = []
        while not latencies or clock() < end:
            start = clock()
            call()
            latencies.append(clock() - start)
        stretches.append(latencies)
        points.append(
            {
                "at_seconds": (clock() - began) / 1e9,
                "num_calls": len(latencies),
                "p50_ns": int(statistics.median(latencies)),
                "temperature_c": temperature_c(),
                "frequency_mhz": frequency_mhz(),
            }
        )
        beat()
    # Slow models have fewer stretches than a hundred; a tenth of them is still a tenth of the time.
    tenth = max(1, len(stretches) * _TENTH // _NUM_POINTS)
    return {
        "seconds": (clock() - began) / 1e9,
        "first_p50_ns": _median(stretches[:tenth]),
        "last_p50_ns": _median(stretches[-tenth:]),
        "points": points,
    }


def _median(stretches: list[list[int]]) -> int:
    return int(statistics.median(ns for stretch in stretches for ns in stretch))
