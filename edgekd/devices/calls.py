"""Calling a loaded model: once, until it is warm, timed, and for what energy and heat tell."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from numpy.typing import NDArray

from edgekd.devices.energy import find_meter, measure_energy
from edgekd.devices.job import Job
from edgekd.devices.memory import peak_resident_bytes
from edgekd.devices.other_load import OtherLoad
from edgekd.devices.probe import state
from edgekd.devices.sustain import sustain

Array = NDArray[Any]
Emit = Callable[..., None]

_BEAT_SECONDS: Final = 5.0  # how often a long phase shows that it is alive


@dataclass(frozen=True, kw_only=True)
class Calls:
    """What calling the model told."""

    outputs: Sequence[Array]
    first_ns: int
    latencies_ns: tuple[int, ...]
    other_load: float | None
    peak_bytes: int
    after: Mapping[str, Any]
    energy: Mapping[str, Any] | None
    energy_unknown: str | None
    sustained: Mapping[str, Any] | None


def call_model(job: Job, call: Callable[[], list[Array]], emit: Emit) -> Calls:
    """Call it once, until it is warm, with the clock running, and for energy and heat if asked.

    Args:
        job: How often and how long.
        call: One inference.
        emit: Called as ``emit("phase", name=...)`` when one begins and while it goes on.
    """
    emit("phase", name="first inference")
    start = time.perf_counter_ns()
    outputs = call()
    first_ns = time.perf_counter_ns() - start
    emit("phase", name="warm-up")
    for _ in range(job.num_warmup):
        call()
    peak_bytes = peak_resident_bytes()  # before our own list of times grows
    beat = partial(emit, "phase", name="timing")
    beat()
    others = OtherLoad()
    latencies = time_calls(call, num_calls=job.num_calls, min_seconds=job.min_seconds, beat=beat)
    other_load = others.cores()
    after = state()
    energy, energy_unknown = _energy(job, call, emit)
    return Calls(
        outputs=outputs,
        first_ns=first_ns,
        latencies_ns=tuple(latencies),
        other_load=other_load,
        peak_bytes=peak_bytes,
        after=after,
        energy=energy,
        energy_unknown=energy_unknown,
        sustained=_sustained(job, call, emit),
    )


def time_calls(
    call: Callable[[], Any],
    *,
    num_calls: int,
    min_seconds: float,
    beat: Callable[[], None] = lambda: None,
) -> list[int]:
    """Time of each call in ns, until both ``num_calls`` and ``min_seconds`` have passed.

    ``beat`` is called between two calls every few seconds, never while the clock runs.
    """
    clock = time.perf_counter_ns
    latencies: list[int] = []
    begin = clock()
    enough = begin + int(min_seconds * 1e9)
    interval = int(_BEAT_SECONDS * 1e9)
    next_beat = begin + interval
    while len(latencies) < num_calls or clock() < enough:
        start = clock()
        call()
        stop = clock()
        latencies.append(stop - start)
        if stop > next_beat:
            beat()
            next_beat = clock() + interval
    return latencies


def _energy(
    job: Job, call: Callable[[], Any], emit: Emit
) -> tuple[dict[str, Any] | None, str | None]:
    if not job.energy_seconds:
        return None, None
    meter, why_not = find_meter()
    if meter is None:
        return None, why_not
    beat = partial(emit, "phase", name="energy")
    beat()
    return measure_energy(meter, call, seconds=job.energy_seconds, beat=beat), None


def _sustained(job: Job, call: Callable[[], Any], emit: Emit) -> dict[str, Any] | None:
    if not job.sustain_seconds:
        return None
    beat = partial(emit, "phase", name="sustained run")
    beat()
    return sustain(call, seconds=job.sustain_seconds, beat=beat)
