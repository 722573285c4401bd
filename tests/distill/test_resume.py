"""Runs that are killed, stopped or refused a disk, as a user meets them."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekd.bundle import read_bundle
from edgekd.distill.checkpoint import read_checkpoint

TINY = ["--data", "builtin:digits", "--model", "resnet8", "--set", "student_options.width=4"]
EPOCHS = 12  # long enough for six kills also on a fast machine
PLAN = [*TINY, "--epochs", str(EPOCHS), "--batch-size", "64", "--seed", "3", "--threads", "1"]
OFTEN = ["--set", "checkpoint_minutes=0.0005"]  # every 30 ms: kills land between and within


def command(output, *extra):
    return [sys.executable, "-m", "edgekd", "teach", *PLAN, *OFTEN, "-o", str(output), *extra]


def run(output, *extra):
    done = subprocess.run(command(output, *extra), capture_output=True, text=True, timeout=300)
    return done.returncode, done.stderr


def weights_of(folder):
    return hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, stderr = run(folder, "--precision", "fp32")
    assert code == 0, stderr
    return folder


def wait_for_checkpoint(folder, process, than=None):
    path = folder / "checkpoint.safetensors"
    while process.poll() is None:
        if path.exists() and (than is None or path.stat().st_mtime_ns != than):
            return
        time.sleep(0.005)


def test_killed_at_random_points_and_resumed_the_weights_are_the_same(uninterrupted, tmp_path):
    folder = tmp_path / "run"
    randomness = random.Random(0)
    kills = 0
    while not (folder / "bundle.json").exists():
        process = subprocess.Popen(
            command(folder, "--resume", "--precision", "fp32"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        path = folder / "checkpoint.safetensors"
        before = path.stat().st_mtime_ns if path.exists() else None
        if kills < 6:
            wait_for_checkpoint(folder, process, before)
            time.sleep(randomness.uniform(0, 0.1))
            if process.poll() is None:
                process.kill()
                kills += 1
        _, stderr = process.communicate(timeout=300)
        assert process.returncode in (0, -signal.SIGKILL), stderr.decode()
    assert kills >= 5
    assert weights_of(folder) == weights_of(uninterrupted)
    whole = [
        json.loads(line) for line in (uninterrupted / "history.jsonl").read_text().splitlines()
    ]
    resumed = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    timings = {"seconds", "wall_time"}
    assert [{k: v for k, v in row.items() if k not in timings} for row in resumed] == [
        {k: v for k, v in row.items() if k not in timings} for row in whole
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_after_the_step_with_a_checkpoint(tmp_path, number):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(folder, "--precision", "fp32"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    wait_for_checkpoint(folder, process)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "--resume" in stderr.decode()
    assert "Traceback" not in stderr.decode()
    progress = read_checkpoint(folder / "checkpoint.safetensors").facts["progress"]
    assert progress["epoch"] < EPOCHS
    code, _ = run(folder, "--resume", "--precision", "fp32")
    assert code == 0
    assert len((folder / "history.jsonl").read_text().splitlines()) == EPOCHS


def test_a_finished_run_resumes_to_itself(uninterrupted):
    before = weights_of(uninterrupted)
    code, stderr = run(uninterrupted, "--resume", "--precision", "fp32")
    assert code == 0
    assert "finished already" in stderr
    assert weights_of(uninterrupted) == before


def test_a_second_run_into_the_same_folder_is_refused(uninterrupted):
    code, stderr = run(uninterrupted, "--precision", "fp32")
    assert code == 10
    assert "--resume" in stderr
    assert "--overwrite" in stderr
    read_bundle(uninterrupted)


def test_a_resumed_run_on_other_data_is_refused(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    process = subprocess.Popen(command(folder), stderr=subprocess.DEVNULL)
    wait_for_checkpoint(folder, process)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)
    code, stderr = run(folder, "--resume", "--seed", "4")
    assert code == 3
    assert "seed: 3 -> 4" in stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_one_line(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    code, stderr = run(locked / "run")
    assert code == 10
    assert "cannot be written" in stderr


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(tmp_path):
    """A file-size limit of the process is a disk that fills up in the middle of a write."""
    folder = tmp_path / "run"
    limit = "import resource,runpy,signal,sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000)); "
    limit += "sys.argv[0]='edgekd'; runpy.run_module('edgekd', run_name='__main__')"
    # 4 wide: the checkpoint has 60 kB; 32 wide: 2.5 MB
    assert run(folder, "--epochs", "1", "--precision", "fp32")[0] == 0
    wide = [sys.executable, "-c", limit, "teach", *TINY, "--set", "student_options.width=32"]
    other = tmp_path / "wide"
    done = subprocess.run(
        [*wide, "--epochs", "1", "--precision", "fp32", "-o", str(other)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 10, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert [p.name for p in Path(other).iterdir()] == ["recipe.toml"]


def test_a_diverged_run_names_step_and_remedy(tmp_path):
    # Each step multiplies the kernels by 1 - lr * weight_decay = -99: overflow in 20 steps.
    wild = ("--lr", "100", "--set", "weight_decay=1", "--set", "warmup_epochs=0")
    code, stderr = run(tmp_path / "run", *wild, "--precision", "fp32")
    assert code == 9, stderr
    assert re.search(r"the loss became (nan|inf) at step \d+ of epoch \d", stderr)
    assert "lower --lr" in stderr
