"""The driver of the table of what int8 costs trained networks, without training any."""

import pytest

from benchmarks.int8 import trained
from benchmarks.int8.trained_table import line, table
from edgekd.cli.main import main_inner

PROVENANCE = {"num_threads": 1, "machine": "here", "precision": "fp32", "train_seconds": 60.0}


@pytest.fixture
def plan(tmp_path):
    return trained.Plan(
        data=tmp_path / "data.zip", runs=tmp_path / "runs", students=trained.STUDENTS[:1], epochs=1,
        label_fraction=0.5, input_size=64, seed=0, recover=2, threads=1, note="",
    )  # fmt: skip


@pytest.fixture
def attempted(monkeypatch, tmp_path, plan):
    """Rows of a driver whose int8 files lose, step by step, what is given; and what was tried."""
    tried = []

    def rows(*drops):
        def attempt(_, source, model_format, step):
            tried.append((model_format, step))
            drop = drops[list(trained.STEPS).index(step)]
            if drop is None:
                return {"step": step, "error": "student.int8.onnx: SQNR is 9.0 dB"}
            return {
                "step": step, "drop": drop, "fp32_top1": 0.8, "int8_top1": 0.8 - drop,
                "num_samples": 10_000, "precision": "int8-mixed", "speedup": 2.0,
                "size_ratio": 0.27,
            }  # fmt: skip

        monkeypatch.setattr(trained, "RESULTS", tmp_path / "results.jsonl")
        monkeypatch.setattr(trained, "attempt", attempt)
        monkeypatch.setattr(
            trained, "bundle", lambda _: {"num_params": 1000, "provenance": PROVENANCE}
        )
        return trained.export_and_bench(plan, trained.STUDENTS[0]), tried

    return rows


def test_the_first_step_within_half_a_point_is_what_was_needed(attempted):
    rows, tried = attempted(0.02, 0.005, 0.0)
    assert [row["needed"] for row in rows] == ["adjustments"] * 2
    assert tried[:2] == [("onnx", "calibration"), ("onnx", "adjustments")]
    assert len(tried) == 4  # nobody recovers what is good enough
    assert line(rows[0]).endswith("| adjustments | calibration: 2.00 points |")
    assert "2 of 2 int8 files are within 0.5 points of fp32." in table(rows)


def test_where_no_step_is_enough_the_best_is_shown(attempted):
    rows, _ = attempted(None, 0.02, 0.03)
    assert (rows[0]["needed"], rows[0]["step"], rows[0]["drop"]) == (None, "adjustments", 0.02)
    assert line(rows[0]).endswith("| not reached | calibration: refused; recovery: 3.00 points |")


def test_what_every_step_refuses_is_a_row_with_the_reason(attempted):
    rows, _ = attempted(None, None, None)
    assert "refused: student.int8.onnx: SQNR is 9.0 dB" in line(rows[0])
    assert "0 of 2 int8 files are within" in table(rows)


def test_other_versions_are_other_rows_and_other_folders(monkeypatch, plan, tmp_path):
    outputs = []

    def edgekd(command, *arguments):
        outputs.append(str(arguments[-1]))
        raise SystemExit

    monkeypatch.setattr(trained, "edgekd", edgekd)
    keys = []
    for version in ("1", "2"):
        monkeypatch.setattr(trained.metadata, "version", lambda _, version=version: version)
        keys.append(plan.key(trained.STUDENTS[0], "onnx"))
        with pytest.raises(SystemExit):
            trained.attempt(plan, tmp_path, "onnx", "calibration")
    assert keys[0] != keys[1]
    assert keys[0]["versions"]["onnxruntime"] == "1"
    assert outputs[0] != outputs[1]


@pytest.mark.parametrize("step", trained.STEPS)
def test_every_step_is_a_command_that_edgekd_takes(monkeypatch, plan, tmp_path, capsys, step):
    asked = []

    def edgekd(*arguments):
        asked.extend(map(str, arguments))
        raise SystemExit

    monkeypatch.setattr(trained, "edgekd", edgekd)
    with pytest.raises(SystemExit):
        trained.attempt(plan, tmp_path, "tflite", step)
    assert main_inner([*asked, "--print-recipe"]) == 0
    said = capsys.readouterr().out
    assert f"adjustments = {str(step != 'calibration').lower()}" in said
    assert ("epochs = 2" in said) == (step == "recovery")
