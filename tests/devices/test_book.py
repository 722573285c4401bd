import pytest

from edgekd.config.devices import DeviceEntry
from edgekd.devices.book import (
    PROJECT_FILE,
    add,
    entry_of,
    find_entry,
    known_devices,
    remove,
    user_file,
)
from edgekd.errors import ConfigError, DeviceError, UsageError


@pytest.fixture(autouse=True)
def _home(devices_home):
    pass


def test_a_board_that_was_added_is_found_until_it_is_removed():
    entry = DeviceEntry(address="me@10.0.0.2", port=2222, identity='/a "b"\\c')
    add("kitchen", entry)
    assert find_entry("kitchen") == entry
    assert known_devices()["kitchen"] == (entry, str(user_file()))
    remove("kitchen")
    with pytest.raises(DeviceError, match="unknown device 'kitchen'; known are local, rpi: add it"):
        find_entry("kitchen")


def test_the_raspberry_pi_is_there_from_the_start_and_can_be_moved():
    assert find_entry("rpi").address == "pi@raspberrypi.local"
    add("rpi", DeviceEntry(address="pi@192.168.1.20"))
    assert find_entry("rpi").address == "pi@192.168.1.20"
    remove("rpi")
    assert find_entry("rpi").address == "pi@raspberrypi.local"


def test_a_project_says_where_a_board_is():
    add("rpi", DeviceEntry(address="pi@192.168.1.20"))
    PROJECT_FILE.write_text('[devices.rpi]\naddress = "lab@pi4"\n')
    assert known_devices()["rpi"] == (DeviceEntry(address="lab@pi4"), str(PROJECT_FILE))


@pytest.mark.parametrize("key", ["ssh_config", "identity"])
def test_a_project_does_not_say_how_to_log_in(key):
    PROJECT_FILE.write_text(f'[devices.rpi]\naddress = "lab@pi4"\n{key} = "evil"\n')
    with pytest.raises(ConfigError, match=f"rpi.{key}: a project does not say how to log in"):
        find_entry("rpi")


@pytest.mark.parametrize(
    "text", ["devices = 3", "[devices.rpi]", "[devices.rpi]\naddress = 4", "[x]", "]"]
)
def test_a_damaged_file_is_named(text):
    PROJECT_FILE.write_text(text)
    with pytest.raises(ConfigError, match=str(PROJECT_FILE)):
        known_devices()


@pytest.mark.parametrize(
    "address",
    ["-oProxyCommand=x", "pi@-oProxyCommand=x", "a b", "pi@host;x", "pi@host\n", "", "pi@", "@h"],
)
def test_an_address_that_ssh_could_take_for_something_else_is_refused(address):
    with pytest.raises(UsageError, match=r"^the address .*: expected user@host"):
        entry_of(address, {})


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("pi@host", ("pi@host", None)),
        ("alias", ("alias", None)),
        ("pi@host:2222", ("pi@host", 2222)),
        ("pi@[fe80::1%eth0]:2222", ("pi@fe80::1%eth0", 2222)),
        ("pi@fe80::1", ("pi@fe80::1", None)),
    ],
)
def test_a_port_is_told_from_an_ipv6_address(address, expected):
    entry = entry_of(address, {"python": "/opt/python3"})
    assert (entry.address, entry.port, entry.python) == (*expected, "/opt/python3")


@pytest.mark.parametrize("name", ["local", "a b", "-x", "", "../x"])
def test_a_name_that_no_flag_could_carry_is_refused(name):
    with pytest.raises(UsageError, match="name"):
        add(name, DeviceEntry(address="pi@host"))


def test_what_was_not_added_cannot_be_removed():
    with pytest.raises(DeviceError, match="'rpi' is not in"):
        remove("rpi")


def test_a_port_or_path_that_is_none_is_named_as_it_was_typed():
    with pytest.raises(UsageError, match=r"^the port 99999: should be at most 65535$"):
        entry_of("pi@host:99999", {})
    with pytest.raises(UsageError, match=r"^--python -x: expected a path"):
        entry_of("pi@host", {"python": "-x"})


def test_a_file_with_a_name_that_no_flag_could_carry():
    PROJECT_FILE.write_text('[devices."a b"]\naddress = "lab@pi4"\n')
    with pytest.raises(ConfigError, match="begins with a letter or digit"):
        known_devices()
