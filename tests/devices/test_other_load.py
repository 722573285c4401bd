import pytest

from edgekd.devices import other_load
from edgekd.devices.other_load import OtherLoad


@pytest.fixture
def at(monkeypatch):
    """Sets what the clocks and the kernel say."""

    def say(wall, busy, own):
        monkeypatch.setattr(other_load.time, "monotonic", lambda: wall)
        ours = (own / 2, own / 4, own / 8, own / 8, wall)  # user, system, of children, since boot
        monkeypatch.setattr(other_load.os, "times", lambda: ours)
        monkeypatch.setattr(other_load, "busy_seconds", lambda: busy)

    return say


def test_our_own_work_is_not_other_work(at):
    at(wall=10.0, busy=100.0, own=5.0)
    load = OtherLoad()
    at(wall=14.0, busy=110.0, own=9.0)  # in 4 s: 10 s of work, 4 of them ours
    assert load.cores() == 1.5


def test_rounding_is_no_negative_load(at):
    at(wall=0.0, busy=0.0, own=0.0)
    load = OtherLoad()
    at(wall=1.0, busy=0.99, own=1.0)
    assert load.cores() == 0.0


@pytest.mark.parametrize(("wall", "busy"), [(0.4, 1.0), (5.0, None)])
def test_too_short_a_time_or_no_kernel_to_ask_is_unknown(at, wall, busy):
    at(wall=0.0, busy=0.0, own=0.0)
    load = OtherLoad()
    at(wall=wall, busy=busy, own=0.0)
    assert load.cores() is None
