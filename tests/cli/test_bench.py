import json
from pathlib import Path

import pytest

from edgekd.cli.main import main_inner

ROW = {
    "file": "student.onnx", "format": "onnx", "precision": "fp32", "device": "local",
    "num_threads": 1, "p50_ms": 0.0423, "p90_ms": 1.5, "p99_ms": None, "cold_start_ms": 12.34,
    "peak_rss_bytes": 4_500_000, "size_bytes": 312_000,
    "metric": {"name": "top1", "value": 0.95, "split": "test", "num_samples": 260},
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
    assert (recipe.baseline, recipe.device, recipe.metric_split) == (True, "local", "test")
    assert json.loads(capsys.readouterr().out) == [ROW, {**ROW, "metric": None}]


def test_a_person_sees_a_table(calls, capsys):
    assert main_inner(["bench", "a"]) == 0
    _, measured, without = (line.split() for line in capsys.readouterr().out.splitlines())
    assert measured == [
        "student.onnx", "fp32", "local", "1", "0.0423", "1.50", "12.3", "4.50", "MB", "312", "kB",
        "95.00", "%", "top1,", "260", "test",
    ]  # fmt: skip
    assert without == measured[:11]
