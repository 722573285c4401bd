"""Exports that measure on a board: a made-up one, and this machine behind a real SSH server."""

import json
from contextlib import contextmanager

import pytest

from edgekd.cli.main import main_inner
from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.devices import board as board_module
from edgekd.devices import book
from edgekd.devices.board import RemoteDevice
from edgekd.devices.local import describe
from edgekd.devices.table import THIS_MACHINE
from edgekd.errors import DeviceError
from edgekd.export import device as device_module
from edgekd.export.device import open_measuring_device
from edgekd.export.quantization.recipe import read_int8_recipe
from edgekd.export.run import export

# random weights have near ties between classes; a graph as it is converts sooner
GATE = {"min_agreement": 0.5, "max_drop_points": 100.0, "num_parity": 40, "simplify": False}
FLAGS = [
    "--int8", "--data", "builtin:digits", "--search-seconds", "0", "--num-calibration", "32",
    "--num-parity", "40", "--min-agreement", "0.5", "--max-drop", "100", "--format", "onnx",
    "--no-simplify",
]  # fmt: skip


@pytest.fixture
def board(fake_ssh, wheels):
    """A board of the name ``rpi`` behind an ssh that is none, and the recipe that asks for it."""
    book.add("rpi", fake_ssh().entry)
    return ExportRecipe(device="rpi", int8="fast", wheels=str(wheels))


class ArmBoard:
    """Says that it is a Raspberry Pi, and likes a file better the more of it is int8."""

    def describe(self):
        return describe().model_copy(update={"name": "rpi", "board": "Pi", "arch": "aarch64"})

    def cpu_flags(self):
        return ["asimd", "asimddp"]

    def runtime_version(self, model_format):
        return "1.30.0"

    def race(self, files, *, num_threads, seconds):
        counts = [path.read_bytes().count(b"\x0eQuantizeLinear") for path in files]
        return tuple((1000 - count,) * 7 for count in counts)


def test_this_machine_needs_no_connection():
    with open_measuring_device(ExportRecipe(), SilentConsole()) as device:
        assert device is THIS_MACHINE


def test_a_board_gets_what_it_lacks_before_anything_is_converted(board, devices_home):
    with open_measuring_device(board, SilentConsole()) as device:
        assert device.describe().name == "rpi"
        assert len(list((devices_home / "board").glob("sites/*/site.json"))) == 2


def test_an_emulated_board_is_refused_with_the_reason(board, devices_home, monkeypatch):
    look_at = board_module.look_at

    def look_at_emulated(*arguments):
        found = look_at(*arguments)
        found.device["emulated"] = True
        return found

    monkeypatch.setattr(board_module, "look_at", look_at_emulated)
    with pytest.raises(DeviceError) as caught, open_measuring_device(board, SilentConsole()):
        pass
    assert str(caught.value).startswith("rpi: it is emulated, and which int8 file is fast cannot")
    assert "leave --device out" in str(caught.value)
    assert not list((devices_home / "board").glob("sites/*"))  # nothing was sent for it


def test_an_unknown_device_is_exit_code_11(student, devices_home, tmp_path, capsys):
    arguments = ["export", str(student.folder), *FLAGS, "--device", "pie"]
    assert main_inner([*arguments, "-o", str(tmp_path / "out")]) == 11
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edgekd: error: unknown device 'pie'; known are local, rpi")
    assert not (tmp_path / "out").exists()


def test_types_fit_the_board_and_a_replay_keeps_them(student, devices_home, tmp_path, monkeypatch):
    @contextmanager
    def open_device(name, console, *, wheels):
        yield ArmBoard()

    recipe = ExportRecipe(
        data="builtin:digits", int8="fast", device="rpi", formats=("onnx",), num_calibration=32,
        search_seconds=0, **GATE,
    )  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(device_module, "open_device", open_device)
        _, made = export(student.folder, tmp_path / "a", recipe)
    assert made.measured_on.name == "rpi"
    assert "int8 types for arm: S8 activations, S8 weights" in made.notes
    assert "int8 chosen by times of rpi: Pi, onnxruntime 1.30.0, 1 thread" in made.notes
    given = (str(tmp_path / "a" / "student.int8.onnx.recipe.json"),)
    again = ExportRecipe(int8_recipe=given, formats=("onnx",), **GATE)
    _, replayed = export(student.folder, tmp_path / "b", again)
    assert replayed.sha256 == made.sha256
    assert replayed.measured_on == made.measured_on


def test_an_export_measures_on_a_board_over_ssh_once(
    sshd, student, wheels, devices_home, tmp_path, monkeypatch, capsys
):
    folder = devices_home / "board"
    book.add("rpi", sshd.entry(folder=str(folder)))
    arguments = ["export", str(student.folder), *FLAGS, "--device", "rpi", "--wheels", str(wheels)]
    assert main_inner([*arguments, "--json", "-o", str(tmp_path / "a")]) == 0
    fp32, int8 = json.loads(capsys.readouterr().out)
    assert fp32["measured_on"] is None
    assert int8["measured_on"]["name"] == "rpi"
    assert int8["measured_on"]["runtime"] == "onnxruntime 99.0"  # the wheel's version there
    recipe = read_int8_recipe(tmp_path / "a" / "student.int8.onnx.recipe.json")
    assert recipe.measured_on.model_dump(mode="json") == int8["measured_on"]
    assert {path.suffix for path in (folder / "objects").iterdir()} == {".pyz"}

    def race(*arguments, **options):
        raise AssertionError("nothing is measured twice")

    monkeypatch.setattr(RemoteDevice, "race", race)
    assert main_inner([*arguments, "--json", "-o", str(tmp_path / "b")]) == 0
    assert json.loads(capsys.readouterr().out)[1]["sha256"] == int8["sha256"]


def test_a_board_that_is_lost_in_the_search_is_exit_code_11_and_leaves_nothing(
    board, student, wheels, devices_home, tmp_path, monkeypatch, capsys
):
    def lost(self, files, **options):
        raise DeviceError("rpi: the connection to pi@host ended (closed)")

    monkeypatch.setattr(RemoteDevice, "race", lost)
    arguments = ["export", str(student.folder), *FLAGS, "--device", "rpi", "--wheels", str(wheels)]
    assert main_inner([*arguments, "-o", str(tmp_path / "out")]) == 11
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "edgekd: error: rpi: the connection to pi@host ended (closed)"
    assert not (tmp_path / "out").exists()
