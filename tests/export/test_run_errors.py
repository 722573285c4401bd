"""What goes wrong in an export, as a user meets it: message, exit code and what is left behind."""

import json
import re

import numpy as np
import onnx

from edgekd.bundle import read_record, sha256_of
from edgekd.cli.main import main_inner
from edgekd.errors import ExportError
from edgekd.export import int8_checks, make, tflite_file, verify
from edgekd.export.formats import Candidate
from edgekd.export.parity import run_session
from edgekd.export.publish import RejectedModel
from edgekd.records import ReferenceCheck


def test_int8_without_data_is_exit_code_2(student, tmp_path, capsys):
    assert main_inner(["export", str(student.folder), "--int8", "-o", str(tmp_path / "o")]) == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith("edgekd: error: --int8 sets its ranges from training samples")
    )


def test_data_of_other_classes_is_exit_code_4(student, tmp_path, capsys):
    images, labels = np.zeros((60, 8, 8), np.uint8), np.repeat(np.array(["cat", "dog"]), 30)
    images += np.arange(60, dtype=np.uint8)[:, None, None]
    np.savez(tmp_path / "pets.npz", x=images, y=labels)
    arguments = ["--data", str(tmp_path / "pets.npz"), "-o", str(tmp_path / "o")]
    assert main_inner(["export", str(student.folder), *arguments]) == 4
    assert "give the data it was trained on" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_exit_code_10(student, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    target = tmp_path / "file" / "out"
    assert main_inner(["export", str(student.folder), "-o", str(target)]) == 10
    assert "cannot be written" in capsys.readouterr().err


def test_a_damaged_bundle_is_exit_code_5(student, tmp_path, capsys):
    assert main_inner(["export", str(tmp_path), "-o", str(tmp_path / "o")]) == 5
    assert "no bundle.json found" in capsys.readouterr().err


def test_a_file_that_answers_differently_is_exit_code_6(student, tmp_path, capsys):
    earlier = tmp_path / "student.onnx"
    earlier.write_bytes(b"an earlier export")
    arguments = ["--format", "onnx", "--tolerance", "1e-12", "-o", str(tmp_path)]
    assert main_inner(["export", str(student.folder), *arguments]) == 6
    assert "student.onnx: a logit differs by" in capsys.readouterr().err
    assert earlier.read_bytes() == b"an earlier export"
    assert not (tmp_path / "student.onnx.json").exists()
    report = json.loads((tmp_path / "student.onnx.failed.json").read_text())
    assert report["file"] == "student.onnx"
    assert report["problems"][0].startswith("a logit differs by")
    assert report["model"]["parity"]["max_abs_err"] > 0
    assert sha256_of(tmp_path / "student.onnx.rejected") == report["model"]["sha256"]


def test_answers_that_are_no_numbers_keep_their_report(student, tmp_path, monkeypatch, capsys):
    def spoiled(*arguments, batch):
        logits = run_session(*arguments, batch=batch)
        if batch == 3:
            logits[[0, 1, 1], [0, 2, 3]] = np.inf, np.nan, -np.inf
        return logits

    monkeypatch.setattr(verify, "run_session", spoiled)
    assert main_inner(["export", str(student.folder), "--format", "onnx", "-o", str(tmp_path)]) == 6
    said = capsys.readouterr().err.splitlines()[-1]
    assert "student.onnx: answers NaN or infinity on 2 of" in said
    assert str(tmp_path / "student.onnx.failed.json") in said
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "student.onnx.failed.json",
        "student.onnx.rejected",
    ]
    report = read_record(RejectedModel, tmp_path / "student.onnx.failed.json")
    assert (report.file, report.model) == ("student.onnx", None)
    (problem,) = report.problems
    assert re.fullmatch(r"answers NaN or infinity on 2 of \d+ samples at batch 3", problem)
    kept = (tmp_path / "student.onnx.rejected").read_bytes()
    onnx.checker.check_model(onnx.load_from_string(kept))


def test_kernels_that_disagree_keep_their_report(student, exported, tmp_path, monkeypatch, capsys):
    """The file is one that was converted before; its kernels are said to be 3 dB apart."""
    name = "student.int8.tflite"
    apart = ReferenceCheck(
        runtime="tensorflow 2, reference kernels", share=0.25, step=0.5, num_samples=4
    )

    def converted(_, source, *__):
        path = source.work / name
        path.write_bytes((exported.folder / name).read_bytes())
        return [Candidate(path=path, format="tflite", int8=True)]

    monkeypatch.setattr(int8_checks, "compare_kernels", lambda *_: (apart, 3.0))
    monkeypatch.setattr(make, "write_files", converted)
    gate = ["--format", "tflite", "--int8", "full", "--min-sqnr-db", "5", "--max-drop", "100"]
    gate += ["--data", "builtin:digits", "--set", "min_agreement=0", "--num-parity", "40"]
    assert main_inner(["export", str(student.folder), *gate, "-o", str(tmp_path / "o")]) == 6
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"{name}: its answers are only 3.0 dB from those of tensorflow 2" in said
    report = read_record(RejectedModel, tmp_path / "o" / f"{name}.failed.json")
    (problem,) = report.problems
    assert "required is 5 dB (LiteRT's fast kernels compute something else" in problem
    assert report.model.int8_checks.reference == apart
    assert report.model.parity.num_samples == 40
    assert sha256_of(tmp_path / "o" / f"{name}.rejected") == report.model.sha256


def test_a_converter_that_fails_is_exit_code_12(student, tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise ExportError("cannot convert the student to TFLite (exit code 1); it said:\n  oh")

    monkeypatch.setattr(tflite_file, "run_converter", fail)
    arguments = ["--format", "tflite", "-o", str(tmp_path / "o")]
    assert main_inner(["export", str(student.folder), *arguments]) == 12
    assert "cannot convert the student to TFLite" in capsys.readouterr().err


def test_a_missing_converter_is_exit_code_7(student, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tflite_file.importlib.util, "find_spec", lambda name: None)
    assert main_inner(["export", str(student.folder), "-o", str(tmp_path / "o")]) == 7
    assert "pip install 'edgekd[export]'" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()  # said before anything was done
