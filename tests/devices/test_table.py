import pytest

from edgekd.devices import local
from edgekd.devices.table import find_device
from edgekd.errors import DeviceError


def test_this_machine_is_known_and_describes_itself():
    info = find_device("local").describe()
    assert find_device("local") is local
    assert (info.name, info.emulated) == ("local", False)
    assert info.memory_bytes > 1 << 20


def test_any_other_device_is_one_line_that_says_what_is_known():
    message = r"unknown device 'rpi': this edgekd measures on local only.*edgekd\[bench\]"
    with pytest.raises(DeviceError, match=message):
        find_device("rpi")
