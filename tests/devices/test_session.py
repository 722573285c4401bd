import pytest
from boards import sha256
from processes import wait_until

from edgekd.devices import bootstrap
from edgekd.devices.bootstrap import source_of
from edgekd.devices.session import RefusedError, Session
from edgekd.errors import DeviceError


def test_a_machine_without_ssh_is_told(fake_ssh, monkeypatch, tmp_path):
    address = fake_ssh()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(DeviceError, match="there is no ssh on this machine"), Session(address):
        pass


def test_what_ssh_says_before_it_ends_is_explained(fake_ssh):
    address = fake_ssh(before="echo 'pi@x: Permission denied (publickey).' >&2; exit 255")
    with pytest.raises(DeviceError, match=r"board: 127\.0\.0\.1 refuses the key"), Session(address):
        pass


def test_a_long_lament_before_the_reason_does_not_hide_it(fake_ssh):
    lament = "head -c 200000 /dev/zero | tr '\\0' 'x' >&2; echo 'Connection refused' >&2; exit 255"
    with (
        pytest.raises(DeviceError, match="no SSH server answers"),
        Session(fake_ssh(before=lament)),
    ):
        pass


def test_a_login_that_runs_something_else_is_told(fake_ssh):
    address = fake_ssh(before="echo 'This account is currently not available.' >&2; exit 1")
    said = r"ended with status 1 \(This account is currently not available\.\)"
    with pytest.raises(DeviceError, match=said), Session(address):
        pass


def test_lines_that_only_look_like_answers_are_noise(fake_ssh):
    noise = 'echo \'edgekd-0000000000000000 {"event": "old", "version": "2.7"}\'; echo \'{\''
    with Session(fake_ssh(before=noise)) as session:
        assert session.ask("ping")["event"] == "done"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "0" * 63, "0" * 64 + "/x", "0" * 64 + ".a/b", ""]
)
def test_a_name_that_is_no_hash_is_refused_by_the_agent(fake_ssh, name):
    with Session(fake_ssh()) as session:
        session.ask("facts", folder=None)
        with pytest.raises(RefusedError, match="is not the name of an object"):
            session.put_bytes(name, b"x")
        with pytest.raises(RefusedError, match="is not the name of a job's file"):
            session.get("../x")


def test_the_folder_is_the_users_cache_unless_another_is_named(fake_ssh, devices_home):
    with Session(fake_ssh()) as session:
        assert session.ask("facts", folder=None)["folder"] == str(devices_home / "cache/edgekd")
        assert session.ask("facts", folder=str(devices_home))["folder"] == str(devices_home)


def test_an_agent_that_hears_nothing_ends_itself(fake_ssh, monkeypatch):
    def impatient(name):
        patient, quick = "_SILENCE_SECONDS: Final = 60.0", "_SILENCE_SECONDS: Final = 0.1"
        return source_of(name).replace(patient, quick)

    monkeypatch.setattr(bootstrap, "source_of", impatient)
    with pytest.raises(DeviceError, match="ended"), Session(fake_ssh()) as session:
        session.next_event(20)


def test_what_is_passing_goes_when_told_and_when_the_session_does(fake_ssh, devices_home, tmp_path):
    folder, names = devices_home / "board", []
    with Session(fake_ssh()) as session:
        session.ask("facts", folder=str(folder))
        session.ask("lock", who="a test")
        for content in (b"one", b"two"):
            path = tmp_path / content.decode()
            path.write_bytes(content)
            names.append(f"{sha256(content)}.onnx")
            session.put(names[-1], path, passing=True)
        assert (folder / "passing" / names[0]).read_bytes() == b"one"
        session.ask("drop", names=names[:1])
        assert [path.name for path in (folder / "passing").iterdir()] == names[1:]
    wait_until(lambda: not (folder / "passing").exists())
