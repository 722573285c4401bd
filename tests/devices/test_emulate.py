"""The emulated board, where one has been built on this machine (edgekd devices emulate NAME)."""

import os
import subprocess

import pytest

from edgekd.devices import emulate as module
from edgekd.devices.address import Address
from edgekd.devices.emulate import default_folder, emulate, stop
from edgekd.devices.provision import look_at, obstacles
from edgekd.devices.session import Session
from edgekd.errors import DeviceError

BUILT_AT = default_folder()  # before a test moves the cache


@pytest.mark.skipif(os.geteuid() != 0, reason="an emulated board needs root")
@pytest.mark.skipif(
    not (BUILT_AT / "complete").exists(), reason=f"no emulated board in {BUILT_AT}: make test-arm"
)
def test_it_is_an_arm_board_that_will_do(console):
    was_running = module._running(BUILT_AT) is not None
    try:
        entry = emulate(BUILT_AT, console)
        with Session(Address("arm", entry)) as session:
            board = look_at(session, "arm", None)
        assert (board.device["arch"], board.device["emulated"]) == ("aarch64", True)
        assert board.folder == "/home/edgekd/.cache/edgekd"
        assert obstacles(board) == []
        assert emulate(BUILT_AT, console) == entry  # a second call finds it running
    finally:
        if not was_running:
            assert stop(BUILT_AT)


@pytest.fixture
def root(monkeypatch):
    """Pretends to be root with every program installed, and returns the commands that were run."""
    commands = []
    answers = {}

    def run(command, **_):
        commands.append(command)
        status, said = answers.get(command[0], (0, ""))
        return subprocess.CompletedProcess(command, status, said.encode())

    monkeypatch.setattr(module.os, "geteuid", lambda: 0)
    monkeypatch.setattr(module.shutil, "which", lambda name, path: f"/sbin/{name}")
    monkeypatch.setattr(module.subprocess, "run", run)
    return commands, answers


def test_a_kernel_that_takes_no_interpreter_is_told(root, monkeypatch, tmp_path, console):
    monkeypatch.setattr(module, "_BINFMT", tmp_path)
    commands, _ = root
    with pytest.raises(DeviceError, match="the kernel did not take qemu-aarch64"):
        emulate(tmp_path / "board", console)
    assert [command[0] for command in commands] == ["mount", "update-binfmts"]


def test_a_step_that_fails_is_named_with_its_last_words(root, monkeypatch, tmp_path, console):
    (tmp_path / "qemu-aarch64").write_text("")
    monkeypatch.setattr(module, "_BINFMT", tmp_path)
    _, answers = root
    answers["debootstrap"] = (1, "I: Retrieving\nE: Couldn't download packages: adduser\n")
    said = r"could not fetch Debian's packages: .* status 1 \(E: Couldn't download packages"
    with pytest.raises(DeviceError, match=said):
        emulate(tmp_path / "board", console)
    assert not (tmp_path / "board" / "complete").exists()


def test_a_mirror_is_handed_on(root, monkeypatch, tmp_path, console):
    (tmp_path / "qemu-aarch64").write_text("")
    monkeypatch.setattr(module, "_BINFMT", tmp_path)
    commands, answers = root
    answers["chroot"] = (1, "")
    with pytest.raises(DeviceError, match="it said nothing"):
        emulate(tmp_path / "board", console, mirror="http://mirror/debian")
    assert commands[0][-2:] == [str(tmp_path / "board" / "root"), "http://mirror/debian"]


def test_stopping_what_does_not_run_says_so(root, tmp_path):
    assert not stop(tmp_path)
