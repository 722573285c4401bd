import pytest

from edgekd.devices.remote_process import RemoteProcess


class Session:
    """Says what it was given, event by event."""

    def __init__(self, *events):
        self.events, self.killed = list(events), 0

    def next_event(self, seconds):
        return self.events.pop(0)

    def kill_runner(self):
        self.killed += 1


ENDED = {"event": "ended", "run": 2, "status": -11, "stderr": "warning\nkernel 7 failed\n\n"}


def test_lines_of_other_runs_and_signs_of_life_are_passed_over():
    session = Session(
        {"event": "line", "run": 1, "line": "of an earlier runner"},
        {"event": "done", "id": 7},
        {"event": "line", "run": 2, "line": "a"},
        {"event": "ended", "run": 1, "status": -9, "stderr": ""},
        {"event": "line", "run": 2, "line": "b"},
        ENDED,
    )
    process = RemoteProcess(session, 2)
    assert list(process.lines()) == [b"a", b"b"]
    assert (process.wait(), process.last_words()) == (-11, "kernel 7 failed")
    process.close()
    assert session.killed == 0  # it has ended


@pytest.mark.parametrize("ask", [RemoteProcess.wait, RemoteProcess.last_words])
def test_its_end_is_waited_for(ask):
    session = Session({"event": "line", "run": 2, "line": "a"}, ENDED)
    assert ask(RemoteProcess(session, 2)) in (-11, "kernel 7 failed")


def test_one_that_runs_is_killed_when_it_is_closed():
    session = Session(ENDED)
    RemoteProcess(session, 2).close()
    assert session.killed == 1
