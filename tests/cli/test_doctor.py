import json
from importlib.metadata import PackageNotFoundError

import pytest

from edgekd.cli import doctor, tools
from edgekd.cli.main import main_inner

NEEDS = {
    "edgekd": [
        "click>=8.1",
        'torch<2.15,>=2.10; extra == "train"',
        'torchvision>=0.25; extra == "train"',
        'litert-torch>=0.8; sys_platform == "linux" and extra == "export"',
        'winonly>=1; sys_platform == "win32" and extra == "export"',
        'edgekd[train]; extra == "all"',
    ],
    "litert-torch": ["torch<2.15", 'jax; extra == "jax"'],
    "torchvision": ["torch==2.14.1"],
}


@pytest.fixture
def installed(monkeypatch):
    """A machine on which exactly these packages are installed."""
    versions: dict[str, str] = {}

    def version(package):
        if package not in versions:
            raise PackageNotFoundError(package)
        return versions[package]

    class Metadata:
        def get_all(self, key):
            return ["train", "export", "all"]

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(doctor, "requires", NEEDS.get)
    monkeypatch.setattr(doctor, "metadata", lambda package: Metadata())
    return versions


def test_what_is_missing_is_said_with_what_to_type(installed, capsys):
    installed |= {"click": "8.2.0", "torch": "2.14.1"}
    assert main_inner(["doctor"]) == 0
    output = capsys.readouterr()
    rows = [line.split() for line in output.out.splitlines()]
    assert ["core", "click", ">=8.1", "8.2.0", "ok"] in rows
    assert ["train", "torch", "<2.15,>=2.10", "2.14.1", "ok"] in rows
    assert ["train", "torchvision", ">=0.25", "missing", "install", "it"] in rows
    first, second = output.err.splitlines()
    assert first.startswith("to complete train: ")
    assert first.endswith("-m pip install 'edgekd[train]'")
    assert second.endswith("-m pip install 'edgekd[export]'")


def test_a_complete_machine_gets_a_verdict(installed, capsys):
    installed |= {"click": "8.2.0", "torch": "2.14.1", "torchvision": "0.29.1"}
    assert main_inner(["doctor"]) == 0
    assert "everything is there" not in capsys.readouterr().err  # litert-torch is missing
    installed["litert-torch"] = "0.10.0"
    assert main_inner(["doctor"]) == 0
    assert (
        capsys.readouterr().err == "everything is there: all extras are complete and fit together\n"
    )
    installed |= {"torch": "2.14.1+cpu"}  # complete, but it does not go together
    assert main_inner(["doctor"]) == 0
    assert "everything is there" not in capsys.readouterr().err


def test_tools_beside_python_may_be_absent(installed, capsys, monkeypatch):
    monkeypatch.setattr(tools.shutil, "which", {"ssh": "/usr/bin/ssh"}.get)
    assert main_inner(["doctor"]) == 0
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["ssh", "/usr/bin/ssh", "only for --device and edgekd devices"] in cells
    assert ["QEMU", "absent", "only for edgekd devices emulate"] in cells
    assert ["GPU", "absent", "only to train faster; everything works without"] in cells


def test_a_package_for_another_platform_is_not_missed(installed):
    installed |= {"click": "8.2.0", "litert-torch": "0.10.0"}
    extras = {extra.name: extra for extra in doctor.examine().extras}
    assert extras["export"].complete
    assert [package.name for package in extras["export"].packages] == ["litert-torch"]
    assert not extras["train"].complete


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        (
            {"torch": "2.15.0", "litert-torch": "0.10.0"},
            "litert-torch 0.10.0 needs torch<2.15, found 2.15.0: pip install 'torch<2.15'",
        ),
        (
            {"torch": "2.13.0", "torchvision": "0.29.1"},
            "torchvision 0.29.1 needs torch==2.14.1, found 2.13.0: pip install 'torch==2.14.1'",
        ),
        (
            {"torch": "2.14.1+cpu", "torchvision": "0.29.1"},
            "torch 2.14.1+cpu and torchvision 0.29.1 are different builds and will not import: "
            "install both from the same index",
        ),
    ],
)
def test_what_does_not_go_together_is_a_warning(versions, problem, installed, capsys):
    installed |= {"click": "8.2.0", **versions}
    assert main_inner(["doctor", "--json", "--quiet"]) == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["problems"] == [problem]
    assert output.err == f"warning: {problem}\n"


def test_a_pair_from_one_index_is_fine(installed):
    installed |= {"torch": "2.14.1+cpu", "torchvision": "0.29.1+cpu", "litert-torch": "0.10.0"}
    assert doctor.examine().problems == ()


def test_the_real_environment_is_read_from_metadata(capsys):
    assert main_inner(["doctor", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    extras = {extra["name"]: extra for extra in result["extras"]}
    assert {"core", "train", "export", "bench", "report", "tensorflow", "all"} <= set(extras)
    core = {package["name"]: package for package in extras["core"]["packages"]}
    assert core["click"]["fits"]
    assert result["usable_cpus"] >= 1
