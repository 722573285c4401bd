"""Every model with every thread count on one device, each in a process of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from edgekd.bench.advice import warn_about
from edgekd.bench.samples import EvaluationSamples
from edgekd.bench.select import Candidate
from edgekd.bench.unfinished import Unfinished
from edgekd.bundle import append_record
from edgekd.config import BenchRecipe
from edgekd.console import Console, Tracker
from edgekd.devices.job import Job, Outcome
from edgekd.devices.table import Device, open_device
from edgekd.records import (
    DeviceInfo,
    Energy,
    MachineState,
    Measurement,
    Metric,
    Precision,
    Sustained,
)

MEASUREMENTS_FILE: Final = "measurements.jsonl"
"""Beside the measured files; one Measurement per line, oldest first."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is measured, the same on every device."""

    candidates: Sequence[Candidate]
    recipe: BenchRecipe
    samples: EvaluationSamples | None
    folder: Path
    """For files of the bench's own."""
    unfinished: Unfinished

    def left_on(self, device: str) -> list[tuple[Candidate, int]]:
        """Models and thread counts that an earlier, interrupted bench did not measure."""
        return [
            (candidate, threads)
            for candidate in self.candidates
            for threads in self.recipe.num_threads
            if self.find(device, candidate, threads) is None
        ]

    def find(self, device: str, candidate: Candidate, threads: int) -> Measurement | None:
        """What was measured, now or before the interruption."""
        return self.unfinished.find(candidate.sha256, candidate.file, device, threads)


def measure_on(
    name: str,
    plan: Plan,
    console: Console,
    *,
    stop: Callable[[], bool] = lambda: False,
    done: Callable[[], None] = lambda: None,
) -> None:
    """Measure what is left to measure on one device.

    Each result is written beside its file and into ``plan.unfinished`` as soon as it is there.

    Args:
        name: The device.
        plan: What to measure.
        console: Told the progress and whatever makes a number doubtful.
        stop: Asked now and then whether to end early.
        done: Called after each measurement.

    Raises:
        BundleError: If a file is damaged.
        ConfigError: If a devices file is damaged.
        DeviceError: If the device is unknown or cannot be reached, or the runner crashed or hung.
        KeyboardInterrupt: If ``stop`` says so.
        MissingExtraError: If a runtime is not installed.
        OutputError: If the measurements cannot be written.
    """
    left = plan.left_on(name)
    if not left:
        return
    wheels = None if plan.recipe.wheels is None else Path(plan.recipe.wheels)
    with open_device(name, console, wheels=wheels) as device:
        for candidate, threads in left:
            job = _job(candidate, plan, threads, plan.folder / f"logits-{name}.npy")
            outcome = _run(device, job, plan.samples, console, stop)
            metric = _metric(candidate, job, plan.samples)
            info = _device_info(device, outcome)
            measurement = _measurement(candidate, job, outcome, metric, plan, info)
            append_record(candidate.folder / MEASUREMENTS_FILE, measurement)
            plan.unfinished.add(measurement)
            warn_about(measurement, outcome, console)
            done()


def _job(candidate: Candidate, plan: Plan, num_threads: int, logits: Path) -> Job:
    decoded: tuple[str, ...] = ()
    if plan.samples is not None and candidate.preprocess is not None:
        decoded = plan.samples.files(candidate.preprocess)
    return Job(
        model=str(candidate.path.resolve()),
        num_threads=num_threads,
        num_warmup=plan.recipe.num_warmup,
        num_calls=plan.recipe.num_calls,
        min_seconds=plan.recipe.min_seconds,
        encodings=tuple(encoding.to_json() for encoding in candidate.encodings),
        samples=decoded,
        logits=str(logits) if decoded else None,
        sustain_seconds=plan.recipe.sustain_seconds,
        energy_seconds=plan.recipe.energy_seconds,
    )


def _run(
    device: Device,
    job: Job,
    samples: EvaluationSamples | None,
    console: Console,
    stop: Callable[[], bool],
) -> Outcome:
    total = len(samples) if samples is not None and job.logits is not None else 0
    with console.track(f"{job.name}, {job.num_threads} thread(s)", total + 1) as tracker:
        outcome = device.measure(job, watch=_Progress(tracker, stop))
        tracker.advance()
    return outcome


def _metric(candidate: Candidate, job: Job, samples: EvaluationSamples | None) -> Metric | None:
    if samples is None or job.logits is None:
        return None
    return samples.metric(candidate, np.load(job.logits, allow_pickle=False))


def _device_info(device: Device, outcome: Outcome) -> DeviceInfo:
    """The device in the state that the runner found after the last timed call."""
    versions = {outcome.runtime: outcome.runtime_version}
    return device.describe().model_copy(update={**outcome.after, "runtime_versions": versions})


def _measurement(
    candidate: Candidate,
    job: Job,
    outcome: Outcome,
    metric: Metric | None,
    plan: Plan,
    info: DeviceInfo,
) -> Measurement:
    return Measurement(
        file=candidate.file,
        model_sha256=candidate.sha256,
        source_sha256=candidate.source_sha256,
        format=candidate.format,
        precision=candidate.precision or cast(Precision, outcome.precision),
        device=info.name,
        device_info=info,
        runtime=f"{outcome.runtime} {outcome.runtime_version}",
        num_threads=job.num_threads,
        batch_size=outcome.batch_size,
        num_warmup=outcome.num_warmup,
        latencies_ns=outcome.latencies_ns,
        encode_ns=outcome.encode_ns,
        decode_ns=outcome.decode_ns,
        load_ns=outcome.load_ns,
        first_invoke_ns=outcome.first_invoke_ns,
        baseline_rss_bytes=outcome.baseline_rss_bytes,
        peak_rss_bytes=outcome.peak_rss_bytes,
        size_bytes=candidate.size_bytes,
        metric=metric,
        data=None if plan.samples is None or metric is None else plan.samples.data,
        missing=() if metric is None else plan.recipe.missing,
        before=MachineState(**outcome.before),
        after=MachineState(**outcome.after),
        other_load=outcome.other_load,
        energy=None if outcome.energy is None else Energy(**outcome.energy),
        energy_unknown=outcome.energy_unknown,
        sustained=None
        if outcome.sustained is None
        else Sustained.model_validate(
            {**outcome.sustained, "points": tuple(outcome.sustained["points"])}
        ),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class _Progress:
    """Moves a bar by the runner's events."""

    def __init__(self, tracker: Tracker, stop: Callable[[], bool]) -> None:
        self._tracker = tracker
        self._stop = stop
        self._done = 0

    def __call__(self, event: Mapping[str, Any]) -> None:
        if self._stop():
            raise KeyboardInterrupt
        if event["event"] == "phase":
            self._tracker.describe(event["name"])
        elif event["event"] == "predicted":
            self._tracker.describe("metric")
            self._tracker.advance(event["num_samples"] - self._done)
            self._done = event["num_samples"]
