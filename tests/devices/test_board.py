import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from processes import find_runner, parent_of, wait_until
from tiny_models import BIAS, WEIGHTS, write_onnx, write_tflite, write_two_inputs

from edgekd.devices.board import open_board
from edgekd.devices.drive import RunnerDiedError
from edgekd.devices.probe import cpu_flags
from edgekd.errors import BundleError, DeviceError
from edgekd.runtimes.encoding import InputEncoding

ENCODING = InputEncoding(
    name="image", kind="image", mean=(0.5,) * 3, std=(0.25,) * 3, layout="NCHW"
)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 2, 2, 3), dtype=np.uint8)
LOGITS = ((PIXELS / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2).reshape(5, -1) @ WEIGHTS.T + BIAS
HOSTILE = "a b;'\"$(touch x)`\n-rf *.onnx"


@pytest.fixture
def board(fake_ssh, console, wheels):
    """Opens a board over an ssh that is none."""

    def connect(**options):
        return open_board(fake_ssh(**options), console, wheels=wheels)

    return connect


def test_a_board_measures_and_predicts_like_this_machine(board, quick_job, tmp_path):
    model = write_onnx(tmp_path / HOSTILE)
    np.save(tmp_path / "x.npy", PIXELS)
    job = quick_job(
        model,
        encodings=(ENCODING.to_json(),),
        samples=(str(tmp_path / "x.npy"),),
        logits=str(tmp_path / "y.npy"),
    )
    events = []
    with board() as device:
        outcome = device.measure(job, watch=events.append)
        info = device.describe()
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), LOGITS, atol=1e-5)
    assert len(outcome.latencies_ns) == 5
    assert (outcome.runtime, outcome.precision) == ("onnxruntime", "fp32")
    assert 0 < outcome.peak_rss_bytes < 200 << 20
    assert [e["name"] for e in events if e["event"] == "phase"][:2] == ["import", "load"]
    assert (info.name, info.emulated) == ("board", False)
    assert not (tmp_path / "x").exists()  # no shell read the name of the file


def test_a_board_feeds_two_sensors_by_their_names(board, quick_job, tmp_path):
    """What is given first is not what the file takes first."""
    rng = np.random.default_rng(1)
    env, acc = (rng.normal(size=(5, *s)).astype(np.float32) for s in ((2, 1), (3, 4)))
    np.save(tmp_path / "env.npy", env)
    np.save(tmp_path / "acc.npy", acc)
    shape = {"kind": "signal", "layout": "NCT"}
    encodings = (
        InputEncoding(name="env", mean=(1.0, 2.0), std=(0.5, 2.0), **shape),
        InputEncoding(name="acc", mean=(0.0, 1.0, -1.0), std=(2.0,) * 3, clip=0.5, **shape),
    )
    job = quick_job(
        write_two_inputs(tmp_path / "m.onnx"),
        encodings=tuple(encoding.to_json() for encoding in encodings),
        samples=(str(tmp_path / "env.npy"), str(tmp_path / "acc.npy")),
        logits=str(tmp_path / "y.npy"),
    )
    with board() as device:
        device.measure(job)
    a = np.clip((acc - [[0.0], [1.0], [-1.0]]) / 2, -0.5, 0.5).reshape(5, -1)
    e = ((env - [[1.0], [2.0]]) / [[0.5], [2.0]]).reshape(5, -1)
    expected = a @ WEIGHTS.T + e @ WEIGHTS[:, :2].T
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, atol=1e-5)


def test_nothing_is_sent_twice_and_the_job_is_cleaned_up(board, quick_job, tmp_path, devices_home):
    job = quick_job(write_tflite(tmp_path / "m.tflite"))
    kept = devices_home / "board"
    with board() as device:
        device.measure(job)
    seen = {path: path.stat().st_mtime_ns for path in kept.glob("objects/*")}
    sites = [path.stat().st_mtime_ns for path in kept.glob("sites/*")]
    assert sorted(path.suffix for path in seen) == [".pyz", ".tflite"]
    assert len(sites) == 1
    assert not (kept / "job").exists()
    with board() as device:
        device.measure(job)
    assert {path: path.stat().st_mtime_ns for path in kept.glob("objects/*")} == seen
    assert [path.stat().st_mtime_ns for path in kept.glob("sites/*")] == sites


def test_an_object_that_was_damaged_on_the_board_is_sent_again(
    board, quick_job, tmp_path, devices_home
):
    job = quick_job(write_tflite(tmp_path / "m.tflite"))
    with board() as device:
        device.measure(job)
    (model,) = devices_home.glob("board/objects/*.tflite")
    model.write_bytes(b"damaged")
    with board() as device:
        assert len(device.measure(job).latencies_ns) == 5


def test_a_greeting_and_noise_change_nothing(board, quick_job, tmp_path):
    greeting = "printf 'Welcome to the board'; head -c 200000 /dev/zero | tr '\\0' 'x' >&2"
    with board(before=greeting) as device:
        outcome = device.measure(quick_job(write_tflite(tmp_path / "m.tflite")))
    assert len(outcome.latencies_ns) == 5


def test_a_damaged_model_is_named_as_the_user_knows_it(board, quick_job, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    with board() as device, pytest.raises(BundleError) as caught:
        device.measure(quick_job(path))
    assert str(caught.value).startswith(f"board: {path}: onnxruntime cannot load it")


def test_after_a_damaged_model_the_next_is_measured(board, quick_job, tmp_path):
    (tmp_path / "bad.tflite").write_bytes(b"no model")
    good = write_tflite(tmp_path / "good.tflite")
    with board() as device:
        for _ in range(5):  # the end of the refused one may still be on its way
            with pytest.raises(BundleError):
                device.measure(quick_job(tmp_path / "bad.tflite"))
            assert len(device.measure(quick_job(good)).latencies_ns) == 5


def test_the_baseline_is_for_this_machine(board, quick_job, tmp_path):
    with board() as device, pytest.raises(DeviceError, match="--baseline runs torch"):
        device.measure(quick_job(tmp_path))


def test_an_emulated_board_is_not_timed_in_earnest(board, quick_job, tmp_path):
    job = quick_job(write_tflite(tmp_path / "m.tflite"), sustain_seconds=60.0, num_calls=1000)
    with board() as device:
        device._board.device["emulated"] = True
        outcome = device.measure(job)
    assert len(outcome.latencies_ns) == 1
    assert (outcome.sustained, outcome.energy) == (None, None)
    assert outcome.peak_rss_bytes > 0


def test_two_hosts_do_not_measure_at_once(board):
    said = "it is being used by .* on .*; wait until that is over"
    with board(), pytest.raises(DeviceError, match=said), board():
        pass
    with board():  # and then it is free
        pass


def test_a_killed_runner_is_one_line_and_the_next_job_runs(
    board, quick_job, tmp_path, devices_home
):
    long = quick_job(write_tflite(tmp_path / "m.tflite"), num_calls=100, min_seconds=60.0)
    with board() as device:

        def kill(event):
            if event.get("name") == "timing":
                os.kill(find_runner(devices_home), signal.SIGKILL)

        with pytest.raises(RunnerDiedError, match=r"m\.tflite with 1 thread.*timing.*SIGKILL"):
            device.measure(long, watch=kill)
        assert len(device.measure(quick_job(tmp_path / "m.tflite")).latencies_ns) == 5


def test_ctrl_c_ends_the_runner(board, quick_job, tmp_path, devices_home):
    def press(event):
        if event.get("name") == "timing":
            raise KeyboardInterrupt

    long = quick_job(write_tflite(tmp_path / "m.tflite"), num_calls=100, min_seconds=60.0)
    with pytest.raises(KeyboardInterrupt), board() as device:
        device.measure(long, watch=press)
    wait_until(lambda: find_runner(devices_home) is None)


def test_a_hung_runner_is_stopped(board, quick_job, tmp_path, devices_home):
    stopped = threading.Event()

    def freeze(event):
        if event.get("name") == "timing" and not stopped.is_set():
            stopped.set()
            os.kill(find_runner(devices_home), signal.SIGSTOP)

    long = quick_job(write_tflite(tmp_path / "m.tflite"), num_calls=100, min_seconds=60.0)
    said = "during timing: no sign of life for 2 s, stopped"
    with board() as device, pytest.raises(DeviceError, match=said):
        device.measure(long, watch=freeze, idle_seconds=2)


def test_an_agent_that_is_killed_is_one_line(board, quick_job, tmp_path, devices_home):
    def kill(event):
        if event.get("name") == "timing":
            os.kill(parent_of(find_runner(devices_home)), signal.SIGKILL)

    long = quick_job(write_tflite(tmp_path / "m.tflite"), num_calls=100, min_seconds=60.0)
    with board() as device, pytest.raises(DeviceError, match="the agent on the board ended"):
        device.measure(long, watch=kill)
    wait_until(
        lambda: find_runner(devices_home) is None
    )  # its standard input closed: it ended itself


def test_a_wheel_that_is_not_what_was_sent_is_refused(board, devices_home, quick_job, tmp_path):
    with board() as device:
        session = device._session
        name = f"{'0' * 64}.whl"
        with pytest.raises(DeviceError, match="arrived as"):
            session.put_bytes(name, b"other bytes")
        assert not list(devices_home.glob("board/*.part"))
        assert len(device.measure(quick_job(write_tflite(tmp_path / "m.tflite"))).latencies_ns) == 5


def test_a_model_with_an_environment_cut_short_gets_a_new_one(
    board, quick_job, tmp_path, devices_home
):
    job = quick_job(write_tflite(tmp_path / "m.tflite"))
    with board() as device:
        device.measure(job)
    (site,) = devices_home.glob("board/sites/*/site.json")
    site.write_text(json.dumps({})[:1])
    with board() as device:
        assert len(device.measure(job).latencies_ns) == 5


HOST = """
import sys
from pathlib import Path
from edgekd.config.devices import DeviceEntry
from edgekd.console import SilentConsole
from edgekd.devices.address import Address
from edgekd.devices.board import open_board
from edgekd.devices.job import Job

model, folder, wheels = sys.argv[1:]
address = Address("board", DeviceEntry(address="me@host", python=sys.executable, folder=folder))
with open_board(address, SilentConsole(), wheels=Path(wheels)) as board:
    board.measure(
        Job(model=model, num_threads=1, num_warmup=1, num_calls=1, min_seconds=120.0)
    )
"""


def test_a_host_that_is_killed_leaves_nothing_running(fake_ssh, wheels, devices_home, tmp_path):
    fake_ssh()
    model, folder = write_tflite(tmp_path / "m.tflite"), devices_home / "board"
    command = [sys.executable, "-c", HOST, str(model), str(folder), str(wheels)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as host:
        wait_until(lambda: find_runner(devices_home) is not None, seconds=120)
        host.kill()
    wait_until(lambda: find_runner(devices_home) is None)
    wait_until(lambda: not (folder / "job").exists())


def test_a_board_races_files_that_go_when_the_session_does(board, tmp_path, devices_home):
    files = [write_tflite(tmp_path / HOSTILE.replace("onnx", "tflite"))]
    files.append(write_tflite(tmp_path / "b.tflite", "int8-static"))
    kept = devices_home / "board"
    with board() as device:
        for _ in range(2):
            times = device.race(files, num_threads=1, seconds=0.0)
            assert [len(found) for found in times] == [7, 7]
            assert min(*times[0], *times[1]) > 0
        assert len(list((kept / "passing").iterdir())) == 2
        assert device.runtime_version("tflite") == "99.0"  # of the wheel that was sent
        assert device.cpu_flags() == frozenset(cpu_flags())
    wait_until(lambda: not (kept / "passing").exists())
    assert [path.suffix for path in (kept / "objects").iterdir()] == [".pyz"]
    assert not (tmp_path / "x").exists()  # no shell read the name of the file


def test_a_race_of_files_that_are_refused_names_them_as_the_user_knows_them(board, tmp_path):
    good, bad = write_onnx(tmp_path / "good.onnx"), tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    with board() as device:
        assert device.race([bad, good], num_threads=1, seconds=0.0)[0] is None
        with pytest.raises(BundleError) as caught:
            device.race([bad], num_threads=1, seconds=0.0)
    assert str(caught.value).startswith(f"board: {bad}: onnxruntime cannot load it")


def test_equal_files_each_have_a_time(board, tmp_path):
    files = [write_onnx(tmp_path / "a.onnx"), write_onnx(tmp_path / "b.onnx")]
    assert files[0].read_bytes() == files[1].read_bytes()
    with board() as device:
        assert None not in device.race(files, num_threads=1, seconds=0.0)
