import threading

import pytest

from benchmarks.parallel import side_by_side


def test_results_come_in_the_order_of_the_calls():
    second_ended = threading.Event()

    def first():
        assert second_ended.wait(10)  # so both ran at once
        return "first"

    def second():
        second_ended.set()
        return "second"

    assert side_by_side(2, [first, second]) == ["first", "second"]


def test_nothing_starts_after_a_failure():
    calls = []

    def fails():
        raise SystemExit("the command failed")

    with pytest.raises(SystemExit, match="the command failed"):
        side_by_side(1, [fails, *[lambda: calls.append(threading.Event().wait(0.2))] * 20])
    assert len(calls) < 20


def test_nothing_starts_after_an_interrupt(monkeypatch):
    calls = []

    def interrupted(started):
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.parallel.as_completed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        side_by_side(1, [lambda: calls.append(threading.Event().wait(0.2))] * 20)
    assert len(calls) == 1
