"""Models times thread counts on devices, each measured in a fresh process."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgekd.bench.advice import (
    spread_doubts,
    warn_about_data,
    warn_about_devices,
    warn_about_slow_int8,
)
from edgekd.bench.measure import MEASUREMENTS_FILE, Plan, measure_on
from edgekd.bench.samples import EvaluationSamples
from edgekd.bench.select import Candidate, select
from edgekd.bench.side_by_side import measure_side_by_side
from edgekd.bench.unfinished import Unfinished
from edgekd.config import BenchRecipe
from edgekd.console import Console
from edgekd.data.as_trained import require_windows, split_as_trained
from edgekd.devices.table import require_known
from edgekd.errors import EdgekdError, InterruptedRun, UsageError
from edgekd.records import Measurement, Task

__all__ = ["MEASUREMENTS_FILE", "bench", "rows"]


def bench(paths: Sequence[Path], recipe: BenchRecipe, console: Console) -> tuple[Measurement, ...]:
    """Measure every model at ``paths`` with every thread count on every device of the recipe.

    Each result is appended to ``measurements.jsonl`` beside its file as soon as it is there, so
    an interrupted bench loses at most one; the same call then measures only the rest.

    Args:
        paths: Exported files, folders of them and, with ``recipe.baseline``, bundle folders.
        recipe: What to do; without ``data`` there is no metric. Where it does not say how they are
            split, they are as the models' training split them.
        console: Told the thread counts, the progress, and whatever makes a number doubtful.

    Returns:
        One Measurement per device, model and thread count, in the order of the recipe's devices
        and of ``paths``.

    Raises:
        UsageError: If there is nothing to measure, data for models of several tasks, or a missing
            input that a model does not take.
        BundleError: If a file is damaged or is not the one its record describes.
        ConfigError: If a devices file is damaged.
        DataError: If the data cannot be opened or has other classes than a model.
        DeviceError: If a device is unknown or unreachable, or the runner crashed or hung.
        InterruptedRun: On Ctrl-C.
        MissingExtraError: If a runtime is not installed.
        OutputError: If the measurements cannot be written.
    """
    for name in recipe.device:
        require_known(name)
    candidates = select(paths, baseline=recipe.baseline)
    threads = ", ".join(str(n) for n in recipe.num_threads)
    console.info(
        f"{len(candidates)} model{'s' * (len(candidates) != 1)} on {', '.join(recipe.device)}, "
        f"each in a process of its own; threads of every runtime: {threads}"
    )
    with tempfile.TemporaryDirectory(prefix="edgekd-bench-") as folder:
        samples = _samples(candidates, recipe, Path(folder), console)
        fingerprint = samples.data.fingerprint if samples is not None else None
        plan = Plan(
            candidates=candidates,
            recipe=recipe,
            samples=samples,
            folder=Path(folder),
            unfinished=Unfinished(candidates[0].folder, recipe, fingerprint),
        )
        if len(plan.unfinished):
            console.info(
                f"going on with an interrupted bench: {len(plan.unfinished)} measured before; "
                f"remove {plan.unfinished.path} to measure all again"
            )
        with _telling_what_is_kept(plan, console):
            if len(recipe.device) == 1:
                measure_on(recipe.device[0], plan, console)
            else:
                measure_side_by_side(recipe.device, plan, console)
    measurements = _all(plan)
    plan.unfinished.complete()
    warn_about_slow_int8(measurements, console)
    warn_about_devices(measurements, console)
    return measurements


@contextmanager
def _telling_what_is_kept(plan: Plan, console: Console) -> Iterator[None]:
    """Whatever ends a bench early, what it measured is named and can be built on."""
    try:
        yield
    except (EdgekdError, KeyboardInterrupt) as stop:
        kept = [f"{m.file} on {m.device} ({m.num_threads} thread(s))" for m in _all(plan)]
        said = (
            f"measured and kept: {', '.join(kept) or 'nothing yet'}; "
            "the same command measures the rest"
        )
        if isinstance(stop, KeyboardInterrupt):
            raise InterruptedRun(f"stopped; {said}") from stop
        if kept:
            console.warn(said)
        raise


def _all(plan: Plan) -> tuple[Measurement, ...]:
    found = [
        plan.find(device, candidate, threads)
        for device in plan.recipe.device
        for candidate in plan.candidates
        for threads in plan.recipe.num_threads
    ]
    return tuple(measurement for measurement in found if measurement is not None)


def rows(measurements: Sequence[Measurement]) -> list[dict[str, Any]]:
    """One plain dictionary per measurement, as ``edgekd bench --json`` prints them.

    A percentile is ``None`` where there were too few calls for it, and every time on an emulated
    device.
    """
    return [
        {
            "file": m.file,
            "format": m.format,
            "precision": m.precision,
            "device": m.device,
            "num_threads": m.num_threads,
            "batch_size": m.batch_size,
            "emulated": m.device_info.emulated,
            **_times(m),
            "num_calls": len(m.latencies_ns),
            "peak_rss_bytes": m.peak_rss_bytes,
            "baseline_rss_bytes": m.baseline_rss_bytes,
            "size_bytes": m.size_bytes,
            "runtime": m.runtime,
            "metric": None if m.metric is None else m.metric.model_dump(mode="json"),
            "missing": list(m.missing),
            "energy": None if m.energy is None else m.energy.model_dump(mode="json"),
            "energy_unknown": m.energy_unknown,
            "doubts": [*m.doubts, *spread_doubts(m)],
            "other_load": m.other_load,
            "board": m.device_info.board,
            "before": None if m.before is None else m.before.model_dump(mode="json"),
            "after": None if m.after is None else m.after.model_dump(mode="json"),
            "unknown": m.device_info.unknown,
        }
        for m in measurements
    ]


def _times(m: Measurement) -> dict[str, Any]:
    """All that a clock told; nothing of an emulated device, where it means nothing."""
    times = {
        "p50_ms": m.percentile_ms(50),
        "p90_ms": m.percentile_ms(90),
        "p99_ms": m.percentile_ms(99),
        "spread": m.spread,
        "cold_start_ms": m.cold_start_ms,
        "encode_ms": None if m.encode_ns is None else m.encode_ns / 1e6,
        "decode_ms": m.decode_ns / 1e6,
        "sustained": None if m.sustained is None else m.sustained.model_dump(mode="json"),
    }
    return dict.fromkeys(times) if m.device_info.emulated else times


def _samples(
    candidates: Sequence[Candidate], recipe: BenchRecipe, folder: Path, console: Console
) -> EvaluationSamples | None:
    if recipe.data is None:
        return None
    for candidate in candidates:
        if candidate.preprocess is not None:
            require_windows(recipe, candidate.preprocess.inputs)
    recipe = split_as_trained(recipe, (c.training for c in candidates), console)
    samples = EvaluationSamples(recipe, folder, console, task=_task(candidates))
    for candidate in candidates:
        if candidate.preprocess is None:
            console.warn(
                f"{candidate.file}: no record beside it says how samples become its input; "
                "measured without the metric"
            )
        else:
            samples.check_labels(candidate)
            samples.check_missing(candidate)
    warn_about_data(candidates, samples.data, console)
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
