"""What makes a measurement doubtful or disappointing, said so that it cannot be missed."""

from collections.abc import Sequence
from typing import Final

from edgekd.bench.select import Candidate
from edgekd.console import Console
from edgekd.devices.job import Outcome
from edgekd.records import DataRef, Measurement

_QUIET_SPREAD: Final = 0.1  # interquartile range over median; torch.utils.benchmark warns there too


def warn_about(measurement: Measurement, outcome: Outcome, console: Console) -> None:
    """Warn where the machine was not quiet or the peak memory is only a bound."""
    where = f"{measurement.file}, {measurement.num_threads} thread(s)"
    for doubt in spread_doubts(measurement):
        console.warn(f"{where}: {doubt}")
    if not outcome.peak_was_reset:
        console.warn(
            f"{where}: the kernel kept the memory peak of before the model was loaded; "
            "peak memory is an upper bound"
        )


def spread_doubts(measurement: Measurement) -> tuple[str, ...]:
    """What is said of times that differ much among themselves; nothing of an emulated device."""
    if measurement.device_info.emulated or measurement.spread <= _QUIET_SPREAD:
        return ()
    return (
        f"half of the calls spread over {measurement.spread:.1%} of the median "
        f"(quiet is at most 10%); {_cause_of_spread(measurement)}",
    )


def _cause_of_spread(measurement: Measurement) -> str:
    if not measurement.threads_share_cores:
        if measurement.busy_cores or measurement.other_load is None:
            return "other work was running: stop it and measure again"
        return (
            f"no other work was seen ({measurement.other_load:.2f} cores busy), so it is the "
            "machine: a changing clock, or a neighbour of a virtual one; measure again"
        )
    cores = measurement.device_info.cpu_count
    return (
        f"more threads than the {cores} core(s) of {measurement.device} are the likely cause: "
        f"measure with --threads {cores} or fewer"
    )


def warn_about_data(candidates: Sequence[Candidate], data: DataRef, console: Console) -> None:
    """Say which files were trained on other data than what their metric is of here."""
    others: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        made_from = candidate.data
        if made_from is not None and made_from.fingerprint not in ("", data.fingerprint):
            others.setdefault(made_from.source, []).append(candidate)
    for source, files in others.items():
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        console.warn(
            f"{files[0].file}{more}: made from {source}; --data {data.source} holds other samples "
            "or splits them otherwise, so this metric is not comparable with that of the training"
        )


def warn_about_devices(measurements: Sequence[Measurement], console: Console) -> None:
    """Say once per device what was wrong with its state; right before the table."""
    for device in dict.fromkeys(m.device for m in measurements):
        taken = [m for m in measurements if m.device == device]
        found = list(dict.fromkeys(doubt for m in taken for doubt in m.doubts))
        busy = max(m.busy_cores for m in taken)
        if busy:
            found.append(f"other work kept up to {busy:.1f} cores busy")
        if any(m.device_info.emulated for m in taken):
            found.append("it is emulated: its times mean nothing and are not shown, its metric is")
        if found:
            console.warn(f"{device}: {'; '.join(found)}")


def warn_about_slow_int8(measurements: Sequence[Measurement], console: Console) -> None:
    """Say which int8 files are slower than the fp32 file made from the same weights.

    Only measurements of the same format, device and thread count are compared.
    """
    measurements = [m for m in measurements if not m.device_info.emulated]
    floats = {_key(m): m for m in measurements if m.precision == "fp32"}
    for measurement in measurements:
        if not measurement.precision.startswith("int8") or measurement.source_sha256 is None:
            continue
        fp32 = floats.get(_key(measurement))
        if fp32 is None:
            continue
        mine, other = measurement.percentile_ms(50), fp32.percentile_ms(50)
        if mine is not None and other is not None and mine > other:
            console.warn(
                f"{measurement.file} is slower than {fp32.file}: {mine:.3f} against {other:.3f} "
                f"ms at {measurement.num_threads} thread(s) on {measurement.device}; "
                "int8 does not pay here"
            )


def _key(measurement: Measurement) -> tuple[str | None, str, str, int]:
    return (
        measurement.source_sha256,
        measurement.format,
        measurement.device,
        measurement.num_threads,
    )
