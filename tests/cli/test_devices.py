import json
import os
import sys
from pathlib import Path

import pytest

from edgekd.cli.main import main_inner
from edgekd.devices import emulate


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """An ssh that runs the remote command here."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "ssh"
    program.write_text('#!/bin/sh\nfor command; do :; done\nexec sh -c "$command"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def add(name, *flags):
    return main_inner(["devices", "add", name, "me@board:2222", "--python", sys.executable, *flags])


def test_a_board_is_added_listed_and_removed(capsys):
    assert add("kitchen", "--identity", "key") == 0
    assert main_inner(["devices", "list", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listed.keys() == {"local", "rpi", "kitchen"}
    assert (listed["kitchen"]["address"], listed["kitchen"]["port"]) == ("me@board", 2222)
    assert listed["kitchen"]["identity"] == str(Path.cwd() / "key")  # found from any folder
    assert main_inner(["devices", "list"]) == 0
    assert "kitchen  me@board:2222" in capsys.readouterr().out
    assert main_inner(["devices", "remove", "kitchen"]) == 0
    assert main_inner(["devices", "remove", "kitchen"]) == 11
    assert "'kitchen' is not in" in capsys.readouterr().err


def test_a_name_that_will_not_do_is_told_in_plain_words(capsys):
    assert main_inner(["devices", "add", "rpi 2", "pi@host"]) == 2
    assert capsys.readouterr().err == (
        "edgekd: error: 'rpi 2': a device's name has letters, digits, '.', '_' and '-', at most 63 "
        "of them, and begins with a letter or digit; for example rpi-2\n"
    )
    assert main_inner(["devices", "add", "local", "pi@host"]) == 2


def test_a_board_is_looked_at_in_plain_words(ssh, tmp_path, capsys):
    assert add("board", "--folder", str(tmp_path / "there")) == 0
    assert main_inner(["devices", "check", "board"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = {line.partition("  ")[0]: line.partition("  ")[2].strip() for line in lines}
    assert words["verdict"] == "can measure ONNX and TFLite files"
    assert words["C library"].startswith("glibc ")
    assert all(text for text in words.values() if text != "board")


def test_a_board_that_will_not_do_is_an_error_that_lists_everything(ssh, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert add("board", "--folder", str(tmp_path / "file/x")) == 0
    assert main_inner(["devices", "check", "board", "--json"]) == 11
    out, err = capsys.readouterr()
    assert json.loads(out)["obstacles"]
    assert err.splitlines()[-1].startswith("edgekd: error: board: ")


def test_what_edgekd_keeps_there_can_be_removed(ssh, tmp_path, capsys):
    there = tmp_path / "there"
    assert add("board", "--folder", str(there)) == 0
    (there / "objects").mkdir(parents=True)
    (there / "objects" / "x").write_text("")
    assert main_inner(["devices", "clean", "board"]) == 0
    assert [path.name for path in there.iterdir()] == ["lock"]
    assert main_inner(["devices", "clean", "local"]) == 2


def test_this_machine_can_be_looked_at(capsys):
    assert main_inner(["devices", "check", "local", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["emulated"] is False


def test_emulation_without_root_says_so(monkeypatch, capsys):
    monkeypatch.setattr(emulate.os, "geteuid", lambda: 1000)
    assert main_inner(["devices", "emulate", "arm"]) == 11
    assert "needs root on Linux" in capsys.readouterr().err


def test_emulation_names_what_is_not_installed(monkeypatch, capsys):
    monkeypatch.setattr(emulate.os, "geteuid", lambda: 0)
    monkeypatch.setattr(emulate, "_PATH", "/nowhere")
    assert main_inner(["devices", "emulate", "arm"]) == 11
    err = capsys.readouterr().err
    assert "not installed: debootstrap, qemu-aarch64-static" in err
    assert "apt-get install qemu-user-static" in err


def test_only_the_emulated_board_can_be_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(emulate.os, "geteuid", lambda: 0)
    assert main_inner(["devices", "emulate", "foo", "--stop"]) == 11
    assert "unknown device 'foo'; known are local, rpi" in capsys.readouterr().err
    assert main_inner(["devices", "emulate", "rpi", "--stop"]) == 11
    assert "rpi is pi@raspberrypi.local, not the emulated board in" in capsys.readouterr().err
    assert main_inner(["devices", "emulate", "local", "--stop"]) == 11
    assert add("arm", "--ssh-config", str(tmp_path / "board" / "ssh_config")) == 0
    assert main_inner(["devices", "emulate", "arm", "--at", "board", "--stop"]) == 0
    assert "arm: was not running" in capsys.readouterr().err


def test_a_name_that_will_not_do_is_refused_before_a_board_is_built(capsys):
    assert main_inner(["devices", "emulate", "my board"]) == 2
    assert "'my board': a device's name" in capsys.readouterr().err


def test_help_of_emulation_shows_an_example_and_the_defaults(capsys):
    assert main_inner(["devices", "emulate", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "[default: ~/.cache/edgekd/arm64]" in text
    assert "[default: debootstrap's own]" in text
    assert "Example: edgekd devices emulate arm edgekd bench" in text
