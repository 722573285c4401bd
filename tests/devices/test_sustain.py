import pytest

from edgekd.devices import sustain as module
from edgekd.devices.sustain import sustain


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0
        monkeypatch.setattr(module.time, "perf_counter_ns", lambda: self.now)

    def wait(self, ns):
        self.now += ns


def test_heat_shows_in_the_last_tenth(monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(module, "temperature_c", lambda: 40 + clock.now / 1e9)
    monkeypatch.setattr(module, "frequency_mhz", lambda: None)
    ms = 1_000_000

    def call():  # twice as slow from the half of ten seconds on
        clock.wait(20 * ms if clock.now >= 5_000 * ms else 10 * ms)

    beats = []
    found = sustain(call, seconds=10, beat=lambda: beats.append(clock.now))
    assert (found["first_p50_ns"], found["last_p50_ns"]) == (10 * ms, 20 * ms)
    assert found["seconds"] == 10
    assert len(found["points"]) == len(beats) == 100
    first, last = found["points"][0], found["points"][-1]
    assert (first["at_seconds"], first["num_calls"], first["p50_ns"]) == (0.1, 10, 10 * ms)
    assert (last["at_seconds"], last["num_calls"], last["p50_ns"]) == (10, 5, 20 * ms)
    assert (first["temperature_c"], last["temperature_c"]) == (40.1, 50)
    assert last["frequency_mhz"] is None


@pytest.mark.parametrize("seconds", [30, 5])
def test_a_call_longer_than_a_stretch_is_a_stretch(monkeypatch, seconds):
    clock = Clock(monkeypatch)
    found = sustain(lambda: clock.wait(3 * 10**9), seconds=seconds, beat=lambda: None)
    assert len(found["points"]) == -(-seconds // 3)
    assert found["first_p50_ns"] == found["last_p50_ns"] == 3 * 10**9
