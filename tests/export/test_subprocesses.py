import sys

import pytest

from edgekd.errors import ExportError
from edgekd.export.subprocesses import read_job, run_converter


def write_module(tmp_path, monkeypatch, body):
    (tmp_path / "fake_converter.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "fake_converter"


def test_the_job_reaches_the_process_and_its_noise_stays_there(tmp_path, monkeypatch, capfd):
    body = (
        "import json, sys\n"
        "job = json.load(open(sys.argv[1]))\n"
        "print('noise')\n"
        "open(job['out'], 'w').write(job['word'])\n"
    )
    module = write_module(tmp_path, monkeypatch, body)
    out = tmp_path / "out.txt"
    run_converter(module, {"out": str(out), "word": "done"}, tmp_path, purpose="test")
    assert out.read_text() == "done"
    assert capfd.readouterr() == ("", "")


def test_a_failure_shows_the_end_of_what_it_said(tmp_path, monkeypatch):
    body = "for i in range(40): print('line', i)\nraise RuntimeError('no such kernel')"
    module = write_module(tmp_path, monkeypatch, body)
    with pytest.raises(ExportError, match=r"cannot convert it \(exit code 1\)") as failure:
        run_converter(module, {}, tmp_path, purpose="convert it")
    lines = str(failure.value).splitlines()
    assert lines[-1] == "  RuntimeError: no such kernel"
    assert len(lines) == 16
    assert "line 0" not in str(failure.value)


def test_a_crash_in_native_code_is_an_error_not_a_crash(tmp_path, monkeypatch):
    body = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"
    module = write_module(tmp_path, monkeypatch, body)
    with pytest.raises(ExportError, match="killed by signal 11"):
        run_converter(module, {}, tmp_path, purpose="convert it")


def test_a_worker_reads_the_job_it_was_started_with(tmp_path, monkeypatch):
    (tmp_path / "job.json").write_text('{"a": 1}')
    monkeypatch.setattr(sys, "argv", ["worker", str(tmp_path / "job.json")])
    assert read_job() == {"a": 1}
