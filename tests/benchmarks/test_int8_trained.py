"""The driver of the table of what int8 costs trained networks, without training any."""

import pytest

from benchmarks.int8 import trained, trained_plan
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
def exported(monkeypatch, tmp_path, plan):
    """Rows of a driver whose exports give, step by step, a problem or a drop on the test split."""
    tried = []

    def rows(*outcomes):
        def export(_, student, output, model_format, step):
            tried.append((model_format, step))
            outcome = outcomes[list(trained.STEPS).index(step)]
            return outcome if isinstance(outcome, str) else ""

        def measured(_, output, model_format):
            drop = outcomes[list(trained.STEPS).index(tried[-1][1])]
            return {
                "drop": drop, "fp32_top1": 0.8, "int8_top1": 0.8 - drop, "num_samples": 10_000,
                "precision": "int8-mixed", "speedup": 2.0, "size_ratio": 0.27,
            }  # fmt: skip

        monkeypatch.setattr(trained, "RESULTS", tmp_path / "results.jsonl")
        monkeypatch.setattr(trained, "export", export)
        monkeypatch.setattr(trained, "measured", measured)
        monkeypatch.setattr(
            trained, "bundle", lambda _: {"num_params": 1000, "provenance": PROVENANCE}
        )
        return trained.export_and_bench(plan, trained.STUDENTS[0]), tried

    return rows


def test_the_first_step_that_the_export_takes_is_what_was_needed(exported):
    rows, tried = exported("drop 2.0 points", 0.004, 0.0)
    assert [row["needed"] for row in rows] == ["adjustments"] * 2
    assert tried[:2] == [("onnx", "calibration"), ("onnx", "adjustments")]
    assert len(tried) == 4  # nobody recovers what is good enough
    assert line(rows[0]).endswith("| adjustments | calibration: drop 2.0 points |")
    assert "2 of 2 int8 files are within 0.5 points of fp32 on the test split." in table(rows)


def test_what_the_test_split_says_changes_no_choice(exported):
    rows, tried = exported(0.02, 0.0, 0.0)
    assert [row["needed"] for row in rows] == ["calibration"] * 2
    assert len(tried) == 2
    assert "| 2.00 |" in line(rows[0])
    assert "0 of 2 int8 files are within" in table(rows)


def test_what_every_step_refuses_is_a_row_with_the_reasons(exported):
    rows, _ = exported("SQNR is 9.0 dB", "SQNR is 9.5 dB", "SQNR is 9.9 dB")
    assert "| none was enough | calibration: SQNR is 9.0 dB; adjustments: SQNR is 9.5" in line(
        rows[0]
    )
    assert "0 of 2 int8 files are within" in table(rows)


def test_other_versions_are_other_rows_and_other_folders(monkeypatch, plan, tmp_path):
    outputs = []

    def edgekd(command, *arguments):
        outputs.append(str(arguments[-1]))
        raise SystemExit

    monkeypatch.setattr(trained, "edgekd", edgekd)
    keys = []
    for version in ("1", "2"):
        monkeypatch.setattr(trained_plan.metadata, "version", lambda _, version=version: version)
        keys.append(plan.key(trained.STUDENTS[0], "onnx"))
        with pytest.raises(SystemExit):
            student = trained.STUDENTS[0]
            output = trained.output_of(plan, student, "onnx", "calibration")
            trained.export(plan, student, output, "onnx", "calibration")
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
        trained.export(plan, trained.STUDENTS[0], tmp_path, "tflite", step)
    assert main_inner([*asked, "--print-recipe"]) == 0
    said = capsys.readouterr().out
    assert f"adjustments = {str(step != 'calibration').lower()}" in said
    assert ("epochs = 2" in said) == (step == "recovery")
