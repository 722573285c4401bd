"""Measures what a job says: ``python -m edgekd.devices.runner JOB.json``.

A fresh process per measurement, so that no model sees another's memory, caches or threads; or one
for a race, whose files must share all of these.
Standard library, numpy and the runtime only: this very code is what a board runs.

Events are JSON lines on what was standard output when the process started; afterwards descriptor
1 is standard error, so that no library's printing can get between them. The process ends itself
when its standard input closes: whoever started it is gone.
"""

import gc
import itertools
import json
import os
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.random  # NumPy loads it on first use, and its memory is no model's
from numpy.typing import NDArray

from edgekd.devices.calls import Emit, call_model, time_calls
from edgekd.devices.job import Job, Outcome, RaceJob, read_job
from edgekd.devices.memory import reset_peak, resident_bytes
from edgekd.devices.probe import state
from edgekd.devices.rounds import run_race
from edgekd.errors import EdgekdError
from edgekd.runtimes.encoding import InputEncoding
from edgekd.runtimes.random_inputs import random_feeds, random_samples
from edgekd.runtimes.session import (
    RUNTIMES,
    Session,
    format_of,
    load_runtime,
    open_session,
    reporting_runtime_errors,
)

Array = NDArray[Any]

_NUM_CODEC_CALLS: Final = 30  # encode and decode are measured for their median only
_PROGRESS_SECONDS: Final = 0.2
_ORPHANED: Final = 3  # exit status when whoever started the runner is gone


def run_job(job: Job, emit: Emit) -> Outcome:
    """Load, time and, where asked, predict; every phase is announced through ``emit``.

    Args:
        job: What to measure.
        emit: Called as ``emit(event, **fields)``.

    Returns:
        The measurement; predictions are in the job's ``logits`` file.

    Raises:
        EdgekdError: If the model cannot be loaded or run.
    """
    model = Path(job.model)
    model_format = format_of(model)
    emit("phase", name="import")
    runtime = load_runtime(model_format)
    encodings = [InputEncoding.from_json(fields) for fields in job.encodings]
    samples = [np.load(path, mmap_mode="r", allow_pickle=False) for path in job.samples]
    before = state()
    gc.collect()
    gc.disable()

    emit("phase", name="load")
    baseline = resident_bytes()
    was_reset = reset_peak()
    start = time.perf_counter_ns()
    session = open_session(model, num_threads=job.num_threads, encodings=encodings)
    load_ns = time.perf_counter_ns() - start

    batch = batch_size(session)
    decoded = _latency_samples(session, job, encodings, samples)
    if decoded:
        feeds = session.encode(decoded)
    else:
        feeds = random_feeds(session.inputs, batch=batch, seed=job.seed)
    with reporting_runtime_errors(model, RUNTIMES[model_format].name, "run"):
        calls = call_model(job, partial(session.invoke, feeds), emit)
    outcome = Outcome(
        runtime=RUNTIMES[model_format].name,
        runtime_version=runtime.version(),
        batch_size=batch,
        num_warmup=job.num_warmup,
        load_ns=load_ns,
        first_invoke_ns=calls.first_ns,
        latencies_ns=calls.latencies_ns,
        encode_ns=_median_ns(lambda: session.encode(decoded)) if decoded else None,
        decode_ns=_median_ns(lambda: session.decode(calls.outputs)),
        baseline_rss_bytes=baseline,
        peak_rss_bytes=max(calls.peak_bytes - baseline, 0),
        peak_was_reset=was_reset,
        precision=session.precision(),
        before=before,
        after=calls.after,
        other_load=calls.other_load,
        energy=calls.energy,
        energy_unknown=calls.energy_unknown,
        sustained=calls.sustained,
    )
    if job.logits is not None:
        gc.enable()
        np.save(job.logits, predict(session, samples, model=model, emit=emit))
    return outcome


def batch_size(session: Session) -> int:
    """Samples per call: the file's own fixed batch, 1 where it is dynamic."""
    shape = session.inputs[0].shape
    return (shape[0] if shape else None) or 1


def predict(
    session: Session, samples: Sequence[Array], *, model: Path, emit: Emit
) -> NDArray[np.float32]:
    """Logits ``(N, K)`` of every sample, in calls of the size that was timed.

    One sample per call where the batch is dynamic: that is what a device does, and a file that
    quantizes while running answers differently in company.

    Raises:
        BundleError: If the runtime fails on a sample.
    """
    runtime = RUNTIMES[format_of(model)].name
    batch, total = batch_size(session), len(samples[0])
    answers: list[NDArray[np.float32]] = []
    next_beat = 0.0
    for start in range(0, total, batch):
        feeds = session.encode([_padded(rows[start : start + batch], batch) for rows in samples])
        with reporting_runtime_errors(model, runtime, "run"):
            outputs = session.invoke(feeds)
        answers.append(session.decode(outputs))
        if time.monotonic() >= next_beat:
            emit("predicted", num_samples=min(start + batch, total))
            next_beat = time.monotonic() + _PROGRESS_SECONDS
    emit("predicted", num_samples=total)
    return np.concatenate(answers)[:total]


def main(arguments: Sequence[str]) -> int:
    """Run the job of a file and write its events; the exit status is 0 unless it failed."""
    emit = _take_stdout()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a hostile model must not fill the disk
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        result = _result(read_job(Path(arguments[0]).read_text(encoding="utf-8")), emit)
    except EdgekdError as error:
        emit("error", kind=type(error).__name__, message=str(error))
        return 1
    emit("result", **result)
    return 0


def _result(job: Job | RaceJob, emit: Emit) -> Mapping[str, Any]:
    """The fields of the event that ends a job."""
    if isinstance(job, RaceJob):
        return {"times": run_race(job, emit)}
    return asdict(run_job(job, emit))


def _latency_samples(
    session: Session, job: Job, encodings: Sequence[InputEncoding], samples: Sequence[Array]
) -> list[Array]:
    """One batch of decoded samples: the first ones, or random ones; none without encodings."""
    if not encodings:
        return []
    batch = batch_size(session)
    if samples:
        return [_padded(np.array(rows[:batch]), batch) for rows in samples]
    return random_samples(session.inputs, encodings, batch=batch, seed=job.seed, source=job.name)


def _padded(rows: Array, batch: int) -> Array:
    """The last rows of a fixed batch are repeated; their answers are dropped."""
    missing = batch - len(rows)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)]) if missing else rows


def _median_ns(call: Callable[[], Any]) -> int:
    return int(statistics.median(time_calls(call, num_calls=_NUM_CODEC_CALLS, min_seconds=0)))


def _take_stdout() -> Emit:
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    numbers: Iterator[int] = itertools.count()

    def emit(event: str, **fields: Any) -> None:
        line: Mapping[str, Any] = {"edgekd": next(numbers), "event": event, **fields}
        stream.write(json.dumps(line) + "\n")
        stream.flush()

    return emit


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os._exit(_ORPHANED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
