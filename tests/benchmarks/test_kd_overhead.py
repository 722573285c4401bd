import json
import sys

from benchmarks.kd_overhead import run


def test_a_round_of_both_loops_is_one_line(tmp_path, monkeypatch, capsys):
    results = tmp_path / "results.jsonl"
    asked = {"steps": 2, "rounds": 1, "threads": 1, "precision": "fp32", "batch_size": 4}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    monkeypatch.setattr(sys, "argv", ["run", *flags, f"--results={results}"])
    run.main()
    (row,) = map(json.loads, results.read_text().splitlines())
    assert asked.items() <= row.items()
    (bare,), (ours,) = row["bare_seconds_per_step"], row["edgekd_seconds_per_step"]
    assert row["ratio_median"] == ours / bare > 0
    assert f"costs {ours / bare:.3f} of a bare one" in capsys.readouterr().out
