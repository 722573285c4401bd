import json
from pathlib import Path

import pytest

from edgekd.cli.main import main_inner

ROW = {
    "file": "student.onnx", "format": "onnx", "precision": "fp32", "device": "local",
    "emulated": False, "sustained": None, "energy": None,
    "num_threads": 1, "p50_ms": 0.0423, "p90_ms": 1.5, "p99_ms": None, "cold_start_ms": 12.34,
    "peak_rss_bytes": 4_500_000, "size_bytes": 312_000,
    "metric": {"name": "top1", "value": 0.95, "split": "test", "num_samples": 260}, "missing": [],
}  # fmt: skip


@pytest.fixture
def calls(fake_stage):
    seen = []

    def bench(paths, recipe, console):
        seen.append((paths, recipe))
        return (ROW, {**ROW, "metric": None})

    fake_stage("edgekd.bench.run", bench=bench, rows=list)
    return seen


def test_flags_reach_the_stage(calls, capsys):
    flags = ["--data", "signs.zip", "--threads", "1", "--threads", "2", "--calls", "100"]
    assert main_inner(["bench", "a", "b.onnx", *flags, "--baseline", "--json"]) == 0
    ((paths, recipe),) = calls
    assert paths == (Path("a"), Path("b.onnx"))
    assert (recipe.data, recipe.num_threads, recipe.num_calls) == ("signs.zip", (1, 2), 100)
    assert (recipe.baseline, recipe.device, recipe.metric_split) == (True, ("local",), "test")
    assert json.loads(capsys.readouterr().out) == [ROW, {**ROW, "metric": None}]


def test_a_person_sees_a_table(calls, capsys):
    assert main_inner(["bench", "a"]) == 0
    _, measured, without = (line.split() for line in capsys.readouterr().out.splitlines())
    assert measured == [
        "student.onnx", "fp32", "local", "1", "0.0423", "1.50", "12.3", "4.50", "MB", "312", "kB",
        "95.00", "%", "top1,", "260", "test",
    ]  # fmt: skip
    assert without == measured[:11]


def test_times_of_an_emulated_device_are_a_dash(fake_stage, capsys):
    row = {**ROW, "emulated": True, "device": "qemu", "p50_ms": 1.5}
    fake_stage("edgekd.bench.run", bench=lambda *_: (row,), rows=list)
    assert main_inner(["bench", "a"]) == 0
    line = capsys.readouterr().out.splitlines()[1].split()
    assert line[2:8] == ["qemu", "1", *["\N{EM DASH}"] * 4]
    assert line[8:] == ["4.50", "MB", "312", "kB", "95.00", "%", "top1,", "260", "test"]


def test_heat_and_energy_have_tables_of_their_own(fake_stage, capsys):
    row = {
        **ROW,
        "sustained": {"seconds": 60.2, "first_p50_ns": 1_500_000, "last_p50_ns": 2_250_000},
        "energy": {"joules_per_inference": 0.0125, "idle_watts": 2.5, "source": "hwmon ina219"},
    }
    fake_stage("edgekd.bench.run", bench=lambda *_: (row,), rows=list)
    assert main_inner(["bench", "a", "--sustain", "60s"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["student.onnx", "local", "1", "60", "1.50", "2.25"] in lines
    assert ["student.onnx", "local", "1", "12.5", "2.50", "hwmon", "ina219"] in lines


def test_several_devices_and_their_flags_reach_the_stage(calls):
    flags = ["--device", "rpi", "--device", "local", "--sustain", "60s", "--samples", "50"]
    assert main_inner(["bench", "a", *flags, "--wheels", "w"]) == 0
    ((_, recipe),) = calls
    assert (recipe.device, recipe.sustain_seconds) == (("rpi", "local"), 60.0)
    assert (recipe.num_samples, recipe.wheels) == (50, "w")


def test_a_device_named_twice_is_refused(calls, capsys):
    assert main_inner(["bench", "a", "--device", "rpi,rpi"]) == 2
    said = "--device rpi,rpi: expected one or more devices, each once"
    assert capsys.readouterr().err == f"edgekd: error: {said}\n"


def test_what_is_missing_reaches_the_stage_and_the_table(fake_stage, capsys):
    seen = []

    def bench(paths, recipe, console):
        seen.append(recipe.missing)
        return ({**ROW, "missing": list(recipe.missing)},)

    fake_stage("edgekd.bench.run", bench=bench, rows=list)
    flags = ["--data", "body.npz", "--missing", "gyro", "--missing", "acc"]
    assert main_inner(["bench", "a", *flags]) == 0
    assert seen == [("acc", "gyro")]
    line = capsys.readouterr().out.splitlines()[1]
    assert line.rstrip().endswith("95.00 % top1, 260 test, without acc and gyro")


def test_missing_without_data_is_refused(calls, capsys):
    assert main_inner(["bench", "a", "--missing", "gyro"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("edgekd: error: --missing gyro: without data no sample is fed")
    assert said.count("\n") == 1
