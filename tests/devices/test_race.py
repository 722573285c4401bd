import itertools

import pytest
from tiny_models import write_onnx, write_tflite

from edgekd.devices.race import race, ratio, run_rounds
from edgekd.errors import DeviceError


def test_every_file_gets_a_time_per_round(tmp_path):
    files = [write_onnx(tmp_path / "a.onnx"), write_tflite(tmp_path / "b.tflite")]
    a, b = race(files, num_threads=1, seconds=0.0)
    assert len(a) == len(b) == 7
    assert min(*a, *b) > 0


def test_a_file_that_cannot_run_has_no_time_and_harms_no_other(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    good = write_onnx(tmp_path / "good.onnx")
    found = race([tmp_path / "bad.onnx", good], num_threads=1, seconds=0.0)
    assert found[0] is None
    assert len(found[1]) == 7


def test_a_crash_is_traced_to_its_file(tmp_path, monkeypatch):
    crashing, good = tmp_path / "crash.onnx", tmp_path / "good.onnx"

    def process(files, num_threads, seconds):
        return None if crashing in files else tuple((1,) for _ in files)

    monkeypatch.setattr("edgekd.devices.race._in_a_process", process)
    assert race([crashing, good], num_threads=1, seconds=0.0) == (None, (1,))
    with pytest.raises(DeviceError, match="crashes on every candidate"):
        race([crashing], num_threads=1, seconds=0.0)


def test_a_machine_that_slows_down_changes_no_ratio():
    steady = (100, 120, 150, 200, 400, 800, 900)
    half = tuple(time // 2 for time in steady)
    assert ratio(half, steady) == (0.5, 0.0)


def test_the_error_is_that_of_a_median():
    # ratios 0.9, 1.0, 1.1: the median deviation is 0.1
    _, error = ratio((9, 10, 11), (10, 10, 10))
    assert error == pytest.approx(1.4826 * 1.2533 * 0.1 / 3**0.5)


def test_turns_are_taken_and_the_first_call_of_a_turn_is_not_timed():
    calls, ticks = [], itertools.count()
    functions = [lambda: calls.append("a"), lambda: calls.append("b")]
    times = run_rounds(functions, seconds=0.0, clock=lambda: next(ticks) * 6_000_000)
    assert "".join(calls) == "aaabbb" * 7  # each turn ends when its time is up
    assert times == [(6_000_000,) * 7, (6_000_000,) * 7]
