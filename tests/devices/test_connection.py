from contextlib import closing

import pytest

from edgekd.devices.connection import Connection
from edgekd.devices.session import Session
from edgekd.errors import DeviceError


def hear(address):
    with closing(Connection(address)) as connection:
        return connection.next_event(20)


def test_a_machine_without_ssh_is_told(fake_ssh, monkeypatch, tmp_path):
    address = fake_ssh()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(DeviceError, match="there is no ssh on this machine"):
        Connection(address)


def test_what_ssh_says_before_it_ends_is_explained(fake_ssh):
    address = fake_ssh(before="echo 'pi@x: Permission denied (publickey).' >&2; exit 255")
    with pytest.raises(DeviceError, match=r"board: 127\.0\.0\.1 refuses the key"):
        hear(address)


def test_a_long_lament_before_the_reason_does_not_hide_it(fake_ssh):
    lament = "head -c 200000 /dev/zero | tr '\\0' 'x' >&2; echo 'Connection refused' >&2; exit 255"
    with pytest.raises(DeviceError, match="no SSH server answers"):
        hear(fake_ssh(before=lament))


def test_a_login_that_runs_something_else_is_told(fake_ssh):
    address = fake_ssh(before="echo 'This account is currently not available.' >&2; exit 1")
    said = r"ended with status 1 \(This account is currently not available\.\)"
    with pytest.raises(DeviceError, match=said):
        hear(address)


def test_silence_is_told_with_its_length(fake_ssh):
    with (
        closing(Connection(fake_ssh(before="sleep 30"))) as connection,
        pytest.raises(DeviceError, match="no answer for 0 s; the board may hang"),
    ):
        connection.next_event(0.2)


def test_writing_to_a_connection_that_ended_says_why_it_ended(fake_ssh):
    with closing(Connection(fake_ssh(before="echo 'Connection refused' >&2; exit 255"))) as ended:
        with pytest.raises(DeviceError):
            ended.next_event(20)
        with pytest.raises(DeviceError, match="no SSH server answers"):
            ended.write(b"x" * 1_000_000)


def test_lines_that_only_look_like_answers_are_noise(fake_ssh):
    noise = 'echo \'edgekd-0000000000000000 {"event": "old", "version": "2.7"}\'; echo \'{\''
    with Session(fake_ssh(before=noise)) as session:
        assert session.ask("ping")["event"] == "done"
