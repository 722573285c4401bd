from edgekd.devices import calls
from edgekd.devices.calls import time_calls


class Clock:
    """A clock on which only calls take time."""

    def __init__(self, monkeypatch):
        self.now = 0
        monkeypatch.setattr(calls.time, "perf_counter_ns", lambda: self.now)

    def wait(self, ns):
        self.now += ns


def test_each_call_is_timed_until_there_are_enough(monkeypatch):
    clock = Clock(monkeypatch)
    durations = iter([5, 7, 9, 11])
    latencies = time_calls(lambda: clock.wait(next(durations)), num_calls=3, min_seconds=0)
    assert latencies == [5, 7, 9]


def test_calls_go_on_until_the_time_is_over_and_beats_are_not_in_them(monkeypatch):
    clock = Clock(monkeypatch)
    beats = []

    def beat():
        beats.append(clock.now)
        clock.wait(123)

    seconds = 10**9
    latencies = time_calls(lambda: clock.wait(2 * seconds), num_calls=1, min_seconds=11, beat=beat)
    assert latencies == [2 * seconds] * 6  # 12 s is the first multiple of 2 s past 11 s
    assert beats == [6 * seconds, 12 * seconds + 123]
