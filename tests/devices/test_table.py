import onnxruntime
import pytest

from edgekd.console import SilentConsole
from edgekd.devices import local
from edgekd.devices.table import open_device
from edgekd.errors import DeviceError


def test_this_machine_is_known_and_describes_itself():
    with open_device("local", SilentConsole()) as device:
        info = device.describe()
    assert device is local
    assert (info.name, info.emulated) == ("local", False)
    assert info.memory_bytes > 1 << 20
    assert device.runtime_version("onnx") == onnxruntime.__version__
    assert list(device.cpu_flags()) == sorted(device.cpu_flags())


def test_an_unknown_name_is_one_line_that_says_what_is_known(devices_home):
    message = "unknown device 'pie'; known are local, rpi: add it with 'edgekd devices add pie"
    with pytest.raises(DeviceError, match=message), open_device("pie", SilentConsole()):
        pass
