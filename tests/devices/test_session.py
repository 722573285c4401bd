import pytest
from boards import sha256
from processes import wait_until

from edgekd.devices import bootstrap
from edgekd.devices.bootstrap import source_of
from edgekd.devices.session import RefusedError, Session
from edgekd.errors import DeviceError


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
