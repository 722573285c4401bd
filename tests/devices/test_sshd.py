"""The whole way over a real SSH server on loopback, and what goes wrong on it."""

import os
import shutil
import signal
import socket
import subprocess

import numpy as np
import pytest
from processes import find_runner, wait_until
from tiny_models import BIAS, WEIGHTS, write_onnx, write_tflite

from edgekd.devices.address import Address
from edgekd.devices.board import open_board
from edgekd.devices.session import Session
from edgekd.errors import DeviceError
from edgekd.runtimes.encoding import InputEncoding

ENCODING = InputEncoding(
    name="image", kind="image", mean=(0.5,) * 3, std=(0.25,) * 3, layout="NHWC"
)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 2, 2, 3), dtype=np.uint8)
LOGITS = ((PIXELS / 255 - 0.5) / 0.25).reshape(5, -1) @ WEIGHTS.T + BIAS


@pytest.fixture
def real(sshd, devices_home, console, wheels):
    """Opens a board behind the real server."""

    def connect(**changes):
        folder = {"folder": str(devices_home / "board")}
        entry = sshd.entry(**{**folder, **changes})
        return open_board(Address("rpi", entry), console, wheels=wheels)

    return connect


def refused(connect, **changes):
    with pytest.raises(DeviceError) as caught, connect(**changes):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_both_formats_are_measured_over_ssh(real, quick_job, tmp_path):
    np.save(tmp_path / "x.npy", PIXELS)
    job = quick_job(
        write_tflite(tmp_path / "a b;'$(touch y)\n.tflite"),
        encodings=(ENCODING.to_json(),),
        samples=(str(tmp_path / "x.npy"),),
        logits=str(tmp_path / "y.npy"),
    )
    with real() as device:
        assert device.measure(job).runtime == "litert"
        assert device.measure(quick_job(write_onnx(tmp_path / "m.onnx"))).runtime == "onnxruntime"
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), LOGITS, atol=1e-5)


def test_a_host_key_that_changed_is_refused(real, sshd, tmp_path):
    key = (sshd.folder / "stranger.pub").read_text().split()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {key[0]} {key[1]}\n")
    config = tmp_path / "config"
    config.write_text(f"UserKnownHostsFile {known}\nGlobalKnownHostsFile /dev/null\n")
    said = refused(real, ssh_config=str(config))
    assert "the host key of 127.0.0.1 is not the one in known_hosts" in said


def test_an_unknown_host_key_is_refused_whatever_the_configuration_says(real, tmp_path):
    config = tmp_path / "config"
    config.write_text(
        f"StrictHostKeyChecking no\nUserKnownHostsFile {tmp_path}/none\n"
        "GlobalKnownHostsFile /dev/null\n"
    )
    said = refused(real, ssh_config=str(config))
    assert "the host key of 127.0.0.1 is not in known_hosts; log in once by hand" in said


def test_a_key_that_is_refused_names_the_remedy(real, sshd):
    said = refused(real, identity=str(sshd.folder / "stranger"))
    assert "refuses the key" in said
    assert "ssh-copy-id" in said


def test_a_host_without_a_server_is_told(real):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "no SSH server answers" in refused(real, port=port)


def test_a_name_that_does_not_resolve_is_told(real):
    assert "no host board.invalid is known" in refused(real, address="pi@board.invalid")


def test_a_board_without_python_is_told(real):
    said = refused(real, python="/nowhere/python3")
    assert said.startswith("rpi: there is no /nowhere/python3 on the board; install Python 3.11")


def test_an_old_python_is_told(real, tmp_path):
    old = tmp_path / "python3"
    old.write_text(
        "#!/bin/sh\nfor word; do :; done\n"
        'printf \'\\n%s {"event": "old", "version": "3.9.2"}\\n\' "$word"\n'
    )
    old.chmod(0o755)
    assert "is Python 3.9.2, expected 3.11 or newer" in refused(real, python=str(old))


def test_a_connection_that_is_cut_ends_the_runner_and_is_one_line(
    real, sshd, quick_job, tmp_path, devices_home
):
    def cut(event):
        if event.get("name") == "timing":
            for session in sshd.sessions():
                os.kill(session, signal.SIGKILL)

    long = quick_job(write_tflite(tmp_path / "m.tflite"), num_calls=100, min_seconds=60.0)
    with pytest.raises(DeviceError) as caught, real() as device:
        device.measure(long, watch=cut)
    assert "rpi: the connection to" in str(caught.value)
    wait_until(lambda: find_runner(devices_home) is None)
    with real() as device:  # the lock is free, and what was sent is still there
        assert len(device.measure(quick_job(tmp_path / "m.tflite")).latencies_ns) == 5


def test_a_second_host_is_told_who_is_there(real):
    with real():
        assert "it is being used by" in refused(real)


def test_a_home_that_cannot_be_written_is_told(real, tmp_path):
    (tmp_path / "file").write_text("")
    said = refused(real, folder=str(tmp_path / "file" / "edgekd"))
    assert "edgekd cannot be written (" in said
    assert "--folder PATH" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_told_and_leaves_nothing(real, quick_job, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here ({mounted.stderr.decode().strip()})")
    try:
        model = write_tflite(tmp_path / "m.tflite")
        with real(folder=str(disk / "edgekd")) as device:
            device.measure(quick_job(model))
            samples = tmp_path / "x.npy"
            np.save(samples, np.zeros((4_000_000,), np.uint8))
            big = quick_job(model, encodings=(ENCODING.to_json(),), samples=(str(samples),))
            with pytest.raises(DeviceError, match=r"rpi: the disk is full .*; free space in"):
                device.measure(big)
            assert not list((disk / "edgekd").glob("*.part"))
            assert len(device.measure(quick_job(model)).latencies_ns) == 5
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_banner_of_the_server_and_of_the_shell_change_nothing(sshd, devices_home, tmp_path):
    # A script in the interpreter's place prints first what a login shell's profile may print.
    chatty = tmp_path / "python3"
    chatty.write_text(
        "#!/bin/sh\necho 'Last login: never'\nprintf 'no newline'\n"
        f'head -c 200000 /dev/urandom >&2\nexec {shutil.which("python3")} "$@"\n'
    )
    chatty.chmod(0o755)
    with Session(Address("rpi", sshd.entry(python=str(chatty)))) as session:
        assert session.ask("ping")["event"] == "done"


def test_candidates_are_raced_over_ssh(real, tmp_path, devices_home):
    files = [write_onnx(tmp_path / "a.onnx"), write_onnx(tmp_path / "b.onnx", "int8-static")]
    with real() as device:
        assert [len(times) for times in device.race(files, num_threads=1, seconds=0.0)] == [7, 7]
    wait_until(lambda: not (devices_home / "board" / "passing").exists())


def test_a_connection_that_is_cut_in_a_race_is_one_line(
    real, sshd, tmp_path, devices_home, monkeypatch
):
    files = [write_tflite(tmp_path / "a.tflite"), write_tflite(tmp_path / "b.tflite")]
    with pytest.raises(DeviceError) as caught, real() as device:
        start = device._start

        def start_and_cut(job, model_format):
            process = start(job, model_format)
            for session in sshd.sessions():
                os.kill(session, signal.SIGKILL)
            return process

        monkeypatch.setattr(device, "_start", start_and_cut)
        device.race(files, num_threads=1, seconds=0.0)
    assert str(caught.value).startswith("rpi: the connection to")
    assert "\n" not in str(caught.value)
    wait_until(lambda: find_runner(devices_home) is None)
    wait_until(lambda: not (devices_home / "board" / "passing").exists())
