import pytest

from edgekd.cli import tools


class Driver:
    """NVIDIA's library on a machine with so many devices."""

    def __init__(self, count, status=0):
        self.count, self.status = count, status

    def cuInit(self, flags):  # noqa: N802
        return self.status

    def cuDeviceGetCount(self, pointer):  # noqa: N802
        pointer._obj.value = self.count
        return 0


def absent(name):
    raise OSError(f"{name}: cannot open shared object file")


@pytest.mark.parametrize(
    ("driver", "torch", "found"),
    [
        (lambda name: Driver(2), "2.14.1", "2 CUDA device(s)"),
        (lambda name: Driver(0), "2.14.1", None),
        (lambda name: Driver(2, status=100), "2.14.1", None),  # CUDA_ERROR_NO_DEVICE
        (lambda name: Driver(2), "2.14.1+cpu", None),
        (lambda name: Driver(2), None, None),
        (absent, "2.14.1", None),
    ],
)
def test_a_gpu_is_usable_with_a_driver_and_a_torch_that_was_built_for_it(
    driver, torch, found, monkeypatch
):
    monkeypatch.setattr(tools.ctypes, "CDLL", driver)
    assert [tool.found for tool in tools.tools(torch) if tool.name == "GPU"] == [found]


def test_programs_are_looked_for_on_the_path(tmp_path, monkeypatch):
    for name in ("ssh", "qemu-aarch64-static"):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {tool.name: tool.found for tool in tools.tools(None)}
    assert found["ssh"] == str(tmp_path / "ssh")
    assert found["QEMU"] == str(tmp_path / "qemu-aarch64-static")
    monkeypatch.setenv("PATH", "")
    assert [tool.found for tool in tools.tools(None)] == [None, None, None]
