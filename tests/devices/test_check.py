import pytest

from edgekd.devices import check as module
from edgekd.devices.check import check, clean
from edgekd.devices.provision import Board
from edgekd.errors import DeviceError, UsageError


@pytest.fixture
def known(fake_ssh, monkeypatch):
    """A board of the name ``board`` behind an ssh that is none."""
    address = fake_ssh()
    monkeypatch.setattr(module, "find_entry", lambda name: address.entry)
    return address


def test_a_check_alone_sends_nothing(known, console, devices_home):
    findings = check("board", console, install=False, wheels=None)
    assert findings.obstacles == ()
    assert dict(findings.lines)["verdict"] == "can measure ONNX and TFLite files"
    assert findings.to_json()["folder"] == str(devices_home / "board")
    assert list((devices_home / "board").iterdir()) == []


def test_with_install_both_runtimes_are_tried_there(known, console, devices_home, wheels):
    check("board", console, install=True, wheels=wheels)
    assert len(list((devices_home / "board").glob("sites/*/site.json"))) == 2
    assert clean("board", console) == str(devices_home / "board")
    assert [path.name for path in (devices_home / "board").iterdir()] == ["lock"]


def test_this_machine_has_nothing_to_clean(console):
    with pytest.raises(UsageError, match="clean is for boards"):
        clean("local", console)


def test_what_is_unknown_is_shown_with_its_reason_and_everything_missing_is_listed():
    device = {
        **dict.fromkeys(module._SHOWN), "arch": "armv7l", "memory_bytes": 4 * 10**9,
        "temperature_c": 51.25, "frequency_mhz": 1500.0, "emulated": True,
        "unknown": {"governor": "no cpufreq of cpu0 in /sys"},
    }  # fmt: skip
    board = Board(
        name="old", device=device, bits=32, python=(3, 11, 2), implementation="CPython",
        libc=("", ""), folder="/f", writable="Read-only file system", free_bytes=2 * 10**9,
    )  # fmt: skip
    findings = module._of_board(board)
    shown = dict(findings.lines)
    assert shown["governor"] == "unknown: no cpufreq of cpu0 in /sys"
    assert (shown["memory"], shown["temperature"]) == ("4.0 GB", "51.2 \N{DEGREE SIGN}C")
    assert (shown["frequency"], shown["C library"]) == ("1500 MHz", "not glibc")
    assert shown["edgekd's folder"] == "/f, 2.0 GB free"
    assert shown["emulated"].startswith("yes")
    with pytest.raises(DeviceError, match=r"^old: a 32-bit.*; its C library.*; /f cannot be"):
        findings.complain()
