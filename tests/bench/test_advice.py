from dataclasses import replace as change
from pathlib import Path

import pytest

from edgekd.bench.advice import (
    warn_about,
    warn_about_data,
    warn_about_devices,
    warn_about_slow_int8,
)
from edgekd.bench.select import Candidate
from edgekd.devices.job import Outcome
from edgekd.devices.local import describe
from edgekd.records import DataRef, MachineState, Measurement

OUTCOME = Outcome(
    runtime="onnxruntime",
    runtime_version="1",
    batch_size=1,
    num_warmup=0,
    load_ns=1,
    first_invoke_ns=1,
    latencies_ns=(1,),
    encode_ns=None,
    decode_ns=1,
    baseline_rss_bytes=1,
    peak_rss_bytes=1,
    peak_was_reset=True,
    precision="fp32",
    before={},
    after={},
    other_load=None,
)


def measurement(**changes):
    fields = {
        "file": "student.onnx",
        "model_sha256": "1" * 64,
        "source_sha256": "5" * 64,
        "format": "onnx",
        "precision": "fp32",
        "device": "local",
        "device_info": describe(),
        "runtime": "onnxruntime 1",
        "num_threads": 1,
        "batch_size": 1,
        "num_warmup": 0,
        "latencies_ns": (1_000_000,) * 4,
        "encode_ns": 1,
        "decode_ns": 1,
        "load_ns": 1,
        "first_invoke_ns": 1,
        "baseline_rss_bytes": 1,
        "peak_rss_bytes": 1,
        "size_bytes": 1,
        "metric": None,
        "created": "2026-01-01T00:00:00+00:00",
    }
    return Measurement(**{**fields, **changes})


def test_a_quiet_measurement_is_not_commented(console):
    warn_about(measurement(), OUTCOME, console)
    assert console.warnings == []


def test_a_noisy_machine_is_told_with_the_number(console):
    # quartiles of 80, 90, 110, 120 by linear interpolation: 87.5, 100, 112.5
    warn_about(measurement(latencies_ns=(80, 90, 110, 120)), OUTCOME, console)
    assert "spread over 25.0% of the median" in console.warnings[0]


@pytest.mark.parametrize(
    ("threads", "cores", "load", "said"),
    [
        (4, 2, 0.0, "more threads than the 2 core(s) of local are the likely cause: measure with"),
        (2, 2, 0.9, "other work was running"),
        (4, None, 0.9, "other work was running"),
        (2, 2, None, "other work was running"),  # nobody has looked
        (2, 2, 0.03, "no other work was seen (0.03 cores busy), so it is the machine: "),
    ],
)
def test_the_cause_of_a_spread_is_what_was_seen(console, threads, cores, load, said):
    info = describe().model_copy(update={"cpu_count": cores})
    noisy = measurement(
        latencies_ns=(80, 90, 110, 120), num_threads=threads, device_info=info, other_load=load
    )
    warn_about(noisy, OUTCOME, console)
    (warning,) = console.warnings
    assert f"(quiet is at most 10%); {said}" in warning


def test_a_peak_that_is_only_a_bound_is_told(console):
    warn_about(measurement(), change(OUTCOME, peak_was_reset=False), console)
    assert "upper bound" in console.warnings[0]


def test_int8_that_is_slower_is_told_plainly(console):
    int8 = measurement(
        file="student.int8.onnx", precision="int8-static", latencies_ns=(2_500_000,) * 4
    )
    warn_about_slow_int8([measurement(), int8], console)
    (warning,) = console.warnings
    assert "student.int8.onnx is slower than student.onnx: 2.500 against 1.000 ms" in warning
    assert "1 thread(s) on local" in warning


@pytest.mark.parametrize(
    "changes",
    [
        {"latencies_ns": (900_000,) * 4},  # faster
        {"format": "tflite"},
        {"num_threads": 2},
        {"device": "rpi"},
        {"source_sha256": "6" * 64},
        {"source_sha256": None},
    ],
)
def test_only_like_is_compared_with_like(console, changes):
    slow = {"file": "x", "precision": "int8-mixed", "latencies_ns": (2_000_000,) * 4}
    warn_about_slow_int8([measurement(), measurement(**{**slow, **changes})], console)
    assert console.warnings == []


def state(**changes):
    fields = {
        "governor": "performance",
        "frequency_mhz": None,
        "temperature_c": None,
        "throttled": "no",
        "load_average": None,
    }
    return MachineState(**{**fields, **changes})


def test_a_device_that_was_not_at_its_best_is_told_once(console):
    doubtful = measurement(
        before=state(governor="ondemand"),
        after=state(governor="ondemand", throttled="throttled now, throttled since boot"),
        other_load=1.26,
        device="rpi",
    )
    quieter = doubtful.model_copy(update={"other_load": 0.7})
    warn_about_devices([doubtful, quieter, measurement(before=state(), after=state())], console)
    assert console.warnings == [
        "rpi: it throttled while it was measured (throttled now, throttled since boot); "
        "its governor is ondemand, not performance; other work kept up to 1.3 cores busy"
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("no", "no", None),
        (None, None, None),
        ("throttled since boot", "throttled since boot", None),  # long ago
        ("under-voltage since boot", "under-voltage since boot", "its supply is weak"),
        ("frequency capped now", "frequency capped now", "it is throttled"),
        ("no", "1 times since boot", "it throttled while it was measured"),
    ],
)
def test_throttling_counts_when_it_touches_the_measurement(before, after, said):
    found = measurement(before=state(throttled=before), after=state(throttled=after)).doubts
    assert [doubt.startswith(said) for doubt in found] == ([True] if said else [])


def test_the_times_of_an_emulated_device_are_not_judged(console):
    emulated = describe().model_copy(update={"emulated": True})
    slow = measurement(
        latencies_ns=(1, 9, 90, 900), device_info=emulated, other_load=3.0, before=state(),
        after=state(governor="powersave"), device="qemu",
    )  # fmt: skip
    warn_about(slow, OUTCOME, console)
    warn_about_slow_int8([slow, slow.model_copy(update={"precision": "int8-static"})], console)
    warn_about_devices([slow], console)
    (only,) = console.warnings
    assert only.startswith("qemu: it is emulated: its times mean nothing")


def data(fingerprint, source="signs.zip"):
    return DataRef(source=source, fingerprint=fingerprint, num_samples={"test": 3})


def candidate(name, made_from):
    return Candidate(
        path=Path(name), file=name, folder=Path(), format="onnx", sha256="1", size_bytes=1,
        data=made_from,
    )  # fmt: skip


def test_files_of_other_data_are_told_in_one_line(console):
    files = [
        candidate("a.onnx", data("1" * 64)),
        candidate("b.onnx", data("1" * 64)),
        candidate("same.onnx", data("2" * 64, "elsewhere/digits.npz")),
        candidate("unknown.onnx", data("", "unknown")),
        candidate("bare.onnx", None),
    ]
    warn_about_data(files, data("2" * 64, "digits.npz"), console)
    assert console.warnings == [
        "a.onnx and 1 more: made from signs.zip; --data digits.npz holds other samples or splits "
        "them otherwise, so this metric is not comparable with that of the training"
    ]
