import subprocess

import pytest

from edgekd.devices import wheels as module
from edgekd.devices.wheels import SUMS_FILE, Target, gather_wheels, requirements_of
from edgekd.errors import DeviceError

PI = Target(name="rpi", arch="aarch64", glibc=(2, 36), python=(3, 11))


@pytest.fixture
def pip(devices_home, monkeypatch):
    """Stands in for pip; returns what it was asked."""
    asked = []

    def install(*, stderr="", files=("a-1-py3-none-any.whl",)):
        def run(command, **_):
            asked.append(command)
            into = module.Path(command[command.index("--dest") + 1])
            into.mkdir()
            for name in () if stderr else files:
                (into / name).write_bytes(name.encode())
            return subprocess.CompletedProcess(command, bool(stderr), "", stderr)

        monkeypatch.setattr(module.subprocess, "run", run)
        return asked

    return install


def test_every_platform_the_c_library_runs_is_asked_for_newest_first():
    assert PI.platforms[:2] == ["manylinux_2_36_aarch64", "manylinux_2_35_aarch64"]
    assert PI.platforms[-2:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]
    pc = Target(name="pc", arch="x86_64", glibc=(2, 17), python=(3, 12))
    assert "manylinux2010_x86_64" in pc.platforms
    assert pc.platforms[-1] == "manylinux1_x86_64"


def test_versions_are_those_that_edgekd_asks_for():
    numpy, runtime = requirements_of("ai-edge-litert")
    assert numpy.startswith("numpy>=")
    assert runtime.startswith("ai-edge-litert>=")


def test_wheels_are_fetched_once_and_their_hashes_kept(pip):
    asked = pip()
    (wheel,) = gather_wheels(["a"], PI)
    assert gather_wheels(["a"], PI) == [wheel]
    (command,) = asked
    assert command[command.index("--python-version") + 1] == "3.11"
    assert "--only-binary=:all:" in command
    # sha256 of the bytes "a-1-py3-none-any.whl", as sha256sum says
    assert (wheel.parent / SUMS_FILE).read_text().split()[1] == wheel.name
    assert command[-1] == "a"


def test_a_wheel_that_was_exchanged_is_refused(pip):
    pip()
    (wheel,) = gather_wheels(["a"], PI)
    wheel.write_bytes(b"other")
    with pytest.raises(DeviceError, match=r"SHA256SUMS says .* exchanged: remove"):
        gather_wheels(["a"], PI)


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        (
            "ERROR: Could not find a version\nERROR: No matching distribution found for a",
            "rpi: no wheels of a for Python 3.11 on aarch64 with glibc 2.36 "
            "(No matching distribution found for a)",
        ),
        (
            "WARNING: Retrying: NewConnectionError\nERROR: No matching distribution found for a",
            "rpi: the package index cannot be reached to fetch a",
        ),
        ("/usr/bin/python: No module named pip", "pip is not installed here"),
    ],
)
def test_each_failure_of_pip_has_its_line(pip, stderr, said):
    pip(stderr=stderr)
    with pytest.raises(DeviceError) as caught:
        gather_wheels(["a"], PI)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_of_wheels_takes_the_place_of_the_index(devices_home, wheels):
    found = gather_wheels(["onnxruntime"], PI, folder=wheels)
    assert [path.name for path in found] == ["onnxruntime-99.0-py3-none-any.whl"]


def test_a_folder_without_the_wheel_is_told(devices_home, tmp_path):
    with pytest.raises(DeviceError, match=r"no wheels of onnxruntime for Python 3\.11 on aarch64"):
        gather_wheels(["onnxruntime"], PI, folder=tmp_path)
    with pytest.raises(DeviceError, match="no such folder"):
        gather_wheels(["onnxruntime"], PI, folder=tmp_path / "none")


def test_a_folders_own_sums_are_checked(devices_home, tmp_path):
    (tmp_path / "a-1-py3-none-any.whl").write_bytes(b"x")
    (tmp_path / SUMS_FILE).write_text(f"{'0' * 64}  a-1-py3-none-any.whl\n")
    with pytest.raises(DeviceError, match="sha256 is 2d711642b726, SHA256SUMS says 000000000000"):
        gather_wheels(["a"], PI, folder=tmp_path)  # sha256("x") = 2d711642b726b044...
