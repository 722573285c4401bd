import threading
from types import SimpleNamespace

import pytest

from edgekd.bench import side_by_side
from edgekd.bench.side_by_side import measure_side_by_side
from edgekd.errors import DeviceError

PLAN = SimpleNamespace(left_on=lambda name: [None] * 2)


def test_devices_measure_at_the_same_time_and_speak_with_their_names(monkeypatch, console):
    meeting = threading.Barrier(2, timeout=20)

    def measure_on(name, plan, voice, *, stop, done):
        meeting.wait()  # breaks if they measured one after the other
        voice.warn("hot")
        with voice.track("student.onnx", 5) as tracker:
            tracker.advance(5)
        done()
        done()

    monkeypatch.setattr(side_by_side, "measure_on", measure_on)
    measure_side_by_side(["a", "b"], PLAN, console)
    assert sorted(console.warnings) == ["a: hot", "b: hot"]
    assert sorted(console.infos) == ["a: student.onnx", "b: student.onnx"]
    assert console.tracker.done == console.tracker.total == 4


def test_one_that_fails_does_not_stop_the_others(monkeypatch, console):
    ended = []

    def measure_on(name, plan, voice, *, stop, done):
        if name != "b":
            raise DeviceError(f"{name}: gone")
        ended.append(name)

    monkeypatch.setattr(side_by_side, "measure_on", measure_on)
    with pytest.raises(DeviceError):
        measure_side_by_side(["a", "b", "c"], PLAN, console)
    assert ended == ["b"]
    assert len(console.warnings) == 1  # the other failure


def test_a_bug_of_ours_keeps_its_type(monkeypatch, console):
    def measure_on(name, plan, voice, *, stop, done):
        raise ZeroDivisionError

    monkeypatch.setattr(side_by_side, "measure_on", measure_on)
    with pytest.raises(ZeroDivisionError):
        measure_side_by_side(["a", "b"], PLAN, console)


def test_ctrl_c_stops_all_of_them(monkeypatch, console):
    stopped = []

    def measure_on(name, plan, voice, *, stop, done):
        while not stop():
            pass
        stopped.append(name)
        raise KeyboardInterrupt

    presses = iter([KeyboardInterrupt])

    def wait_for(threads):
        for press in presses:
            raise press
        for thread in threads:
            thread.join()

    monkeypatch.setattr(side_by_side, "measure_on", measure_on)
    monkeypatch.setattr(side_by_side, "_wait_for", wait_for)
    with pytest.raises(KeyboardInterrupt):
        measure_side_by_side(["a", "b"], PLAN, console)
    assert sorted(stopped) == ["a", "b"]
