"""Models times thread counts on a device, each measured in a fresh process."""

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from edgekd.bench.advice import warn_about, warn_about_slow_int8
from edgekd.bench.samples import EvaluationSamples
from edgekd.bench.select import Candidate, select
from edgekd.bundle import append_record
from edgekd.config import BenchRecipe
from edgekd.console import Console, Tracker
from edgekd.devices.job import Job, Outcome
from edgekd.devices.table import Device, find_device
from edgekd.errors import UsageError
from edgekd.records import DeviceInfo, Measurement, Metric, Precision, Task

MEASUREMENTS_FILE: Final = "measurements.jsonl"
"""Beside the measured files; one Measurement per line, oldest first."""


def bench(paths: Sequence[Path], recipe: BenchRecipe, console: Console) -> tuple[Measurement, ...]:
    """Measure every model at ``paths`` with every thread count of the recipe.

    Each result is appended to ``measurements.jsonl`` beside its file as soon as it is there, so
    an interrupted bench loses at most one.

    Args:
        paths: Exported files, folders of them and, with ``recipe.baseline``, bundle folders.
        recipe: What to do; without ``data`` there is no metric.
        console: Told the thread counts, the progress, and whatever makes a number doubtful.

    Returns:
        One Measurement per model and thread count, in the order of ``paths``.

    Raises:
        UsageError: If there is nothing to measure, or data for models of several tasks.
        BundleError: If a file is damaged or is not the one its record describes.
        DataError: If the data cannot be opened or has other classes than a model.
        DeviceError: If the device is unknown, or the runner crashed or hung.
        MissingExtraError: If a runtime is not installed.
        OutputError: If the measurements cannot be written.
    """
    device = find_device(recipe.device)
    candidates = select(paths, baseline=recipe.baseline)
    threads = ", ".join(str(n) for n in recipe.num_threads)
    console.info(
        f"{len(candidates)} model(s) on {recipe.device}, each in a process of its own; "
        f"threads of every runtime: {threads}"
    )
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="edgekd-bench-") as folder:
        samples = _samples(candidates, recipe, Path(folder), console)
        for candidate in candidates:
            for num_threads in recipe.num_threads:
                job = _job(candidate, recipe, num_threads, samples, Path(folder))
                outcome = _run(device, job, samples, console)
                metric = _metric(candidate, job, samples)
                info = _device_info(device, outcome)
                measurement = _measurement(candidate, job, outcome, metric, info)
                append_record(candidate.folder / MEASUREMENTS_FILE, measurement)
                warn_about(measurement, outcome, console)
                measurements.append(measurement)
    warn_about_slow_int8(measurements, console)
    return tuple(measurements)


def rows(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """One plain dictionary per measurement, as ``edgekd bench --json`` prints them.

    A percentile is ``None`` where there were too few calls for it.
    """
    return [
        {
            "file": m.file,
            "format": m.format,
            "precision": m.precision,
            "device": m.device,
            "num_threads": m.num_threads,
            "batch_size": m.batch_size,
            "p50_ms": m.percentile_ms(50),
            "p90_ms": m.percentile_ms(90),
            "p99_ms": m.percentile_ms(99),
            "spread": m.spread,
            "num_calls": len(m.latencies_ns),
            "cold_start_ms": m.cold_start_ms,
            "encode_ms": None if m.encode_ns is None else m.encode_ns / 1e6,
            "decode_ms": m.decode_ns / 1e6,
            "peak_rss_bytes": m.peak_rss_bytes,
            "baseline_rss_bytes": m.baseline_rss_bytes,
            "size_bytes": m.size_bytes,
            "runtime": m.runtime,
            "metric": None if m.metric is None else m.metric.model_dump(mode="json"),
        }
        for m in measurements
    ]


def _samples(
    candidates: Sequence[Candidate], recipe: BenchRecipe, folder: Path, console: Console
) -> EvaluationSamples | None:
    if recipe.data is None:
        return None
    samples = EvaluationSamples(recipe, folder, console, task=_task(candidates))
    for candidate in candidates:
        if candidate.preprocess is None:
            console.warn(
                f"{candidate.file}: no record beside it says how samples become its input; "
                "measured without the metric"
            )
        else:
            samples.check_labels(candidate)
    return samples


def _task(candidates: Sequence[Candidate]) -> Task:
    """The task of all models whose metric is measured."""
    tasks = sorted({c.task for c in candidates if c.preprocess is not None})
    if len(tasks) > 1:
        raise UsageError(
            f"the models are for {' and for '.join(tasks)}, and --data is read in one way; "
            "bench them one task at a time"
        )
    return tasks[0] if tasks else "classification"


def _job(
    candidate: Candidate,
    recipe: BenchRecipe,
    num_threads: int,
    samples: EvaluationSamples | None,
    folder: Path,
) -> Job:
    decoded: tuple[str, ...] = ()
    if samples is not None and candidate.preprocess is not None:
        decoded = samples.files(candidate.preprocess)
    return Job(
        model=str(candidate.path.resolve()),
        num_threads=num_threads,
        num_warmup=recipe.num_warmup,
        num_calls=recipe.num_calls,
        min_seconds=recipe.min_seconds,
        encodings=tuple(encoding.to_json() for encoding in candidate.encodings),
        samples=decoded,
        logits=str(folder / "logits.npy") if decoded else None,
    )


def _run(device: Device, job: Job, samples: EvaluationSamples | None, console: Console) -> Outcome:
    total = len(samples) if samples is not None and job.logits is not None else 0
    with console.track(f"{job.name}, {job.num_threads} thread(s)", total + 1) as tracker:
        outcome = device.measure(job, watch=_Progress(tracker))
        tracker.advance()
    return outcome


def _metric(candidate: Candidate, job: Job, samples: EvaluationSamples | None) -> Metric | None:
    if samples is None or job.logits is None:
        return None
    return samples.metric(candidate, np.load(job.logits, allow_pickle=False))


def _device_info(device: Device, outcome: Outcome) -> DeviceInfo:
    versions = {outcome.runtime: outcome.runtime_version}
    return device.describe().model_copy(update={"runtime_versions": versions})


def _measurement(
    candidate: Candidate, job: Job, outcome: Outcome, metric: Metric | None, info: DeviceInfo
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
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


class _Progress:
    """Moves a bar by the runner's events."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._done = 0

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "phase":
            self._tracker.describe(event["name"])
        elif event["event"] == "predicted":
            self._tracker.describe("metric")
            self._tracker.advance(event["num_samples"] - self._done)
            self._done = event["num_samples"]
