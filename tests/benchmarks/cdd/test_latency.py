import json

import pytest

from benchmarks.cdd import latency
from benchmarks.cdd.latency import FILES, latency_table


@pytest.fixture
def typed(monkeypatch):
    """What was typed; ``bench`` answers 4 ms for the dense network and 2 ms for others."""
    seen = []

    def edgekd(*arguments):
        seen.append(arguments)
        if arguments[0] == "export":
            return None
        milliseconds = 4.0 if arguments[1].name.endswith("teacher") else 2.0
        metric = {"value": 0.5} if "--data" in arguments else None
        return [{"file": file, "p50_ms": milliseconds, "metric": metric} for file in FILES]

    def race(files, *, num_threads, seconds):
        assert num_threads == 1
        assert files[0].parent.name == "exported-teacher"
        return [(300, 320), (200, 200)]  # ns in two rounds: 1.5 and 1.6 times as fast

    monkeypatch.setattr(latency, "edgekd", edgekd)
    monkeypatch.setattr(latency, "race", race)
    return seen


def write_exported(folder, weights, files=FILES):
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / f"{file}.json").write_text(json.dumps({"source_sha256": weights}))


def exported(typed):
    return [arguments[1].name for arguments in typed if arguments[0] == "export"]


def test_without_a_cdd_student_nothing_is_timed(plan, finished, typed, tmp_path):
    finished(plan.teacher.folder, 0.9)
    finished(plan.folder("narrow 19, kd", 0), 0.8)
    assert latency_table(plan, tmp_path / "results.jsonl") == ""
    assert typed == []


def test_files_of_other_weights_are_exported_anew(plan, finished, typed, tmp_path):
    finished(plan.teacher.folder, 0.9, weights="a")
    finished(plan.folder("CDD", 0), 0.9, weights="b", macs=400)
    finished(plan.folder("CDD", 1), 0.9, weights="c", macs=400)
    write_exported(plan.runs / "exported-teacher", "a")
    write_exported(plan.runs / "exported-cdd-seed0", "of an earlier run")
    write_exported(plan.runs / "exported-cdd-seed1", "c", FILES[:-1])  # was stopped
    table = latency_table(plan, tmp_path / "results.jsonl")
    assert exported(typed) == ["cdd-seed0", "cdd-seed1"]
    # 1.55 of the 1000 / 400 = 2.5 that the MACs promise
    assert "| student.onnx | 4.000 | 2.000 | 1.55 ± 0.07 | 62 | 50.00 | 50.00 |" in table
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert len(rows) == (3 * 3 + 2) * len(FILES)  # rounds and networks; races of two students
