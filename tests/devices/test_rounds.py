import itertools

import pytest
from tiny_models import write_onnx, write_tflite

from edgekd.devices.job import RaceJob
from edgekd.devices.rounds import run_race, run_rounds
from edgekd.errors import BundleError


def run(*files):
    events = []

    def emit(event, **fields):
        events.append((event, fields["name"]))

    return run_race(RaceJob(files=tuple(map(str, files)), num_threads=1, seconds=0.0), emit), events


def test_turns_are_taken_and_the_first_call_of_a_turn_is_not_timed():
    calls, ticks = [], itertools.count()
    functions = [lambda: calls.append("a"), lambda: calls.append("b")]
    times = run_rounds(
        functions,
        seconds=0.0,
        clock=lambda: next(ticks) * 6_000_000,
        beat=lambda: calls.append(" "),
    )
    assert "".join(calls) == " aaabbb" * 7  # each turn ends when its time is up
    assert times == [(6_000_000,) * 7, (6_000_000,) * 7]


def test_a_file_that_is_refused_has_no_time_and_harms_no_other(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    (bad, good), events = run(tmp_path / "bad.onnx", write_onnx(tmp_path / "good.onnx"))
    assert bad is None
    assert len(good) == 7
    assert events == [("phase", name) for name in ("import", "load", "load", "timing")]


def test_where_every_file_is_refused_the_reason_is_told(tmp_path):
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"bad\.tflite: litert cannot load it"):
        run(tmp_path / "bad.tflite")


def test_both_formats_run(tmp_path):
    (a, b), _ = run(write_onnx(tmp_path / "a.onnx"), write_tflite(tmp_path / "b.tflite"))
    assert min(*a, *b) > 0
