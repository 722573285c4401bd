"""Runs that are killed, stopped or refused a disk, as a user meets them."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from edgekd.bundle import read_bundle
from edgekd.cli.main import main_inner
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


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The folder of a run that was stopped after its first epoch; a test works on a copy."""
    folder = tmp_path_factory.mktemp("part") / "run"
    process = subprocess.Popen(command(folder, "--precision", "fp32"), stderr=subprocess.DEVNULL)
    while process.poll() is None and not (folder / "history.jsonl").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
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


def test_a_resumed_run_of_another_recipe_is_refused(interrupted):
    code, stderr = run(interrupted, "--resume", "--precision", "fp32", "--seed", "4")
    assert code == 3
    assert "seed: 3 -> 4" in stderr


def test_a_resumed_run_on_other_data_is_refused(tmp_path, capsys):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (90, 8, 8), dtype=np.uint8), np.arange(90) % 3
    data, folder = tmp_path / "data.npz", tmp_path / "run"
    tiny = ["--model", "resnet8", "--set", "student_options.width=4", "--precision", "fp32"]
    arguments = ["teach", "--data", str(data), *tiny, "--epochs", "1", "--threads", "1"]
    np.savez(data, x=images, y=labels)
    assert main_inner([*arguments, "-o", str(folder)]) == 0
    (folder / "bundle.json").unlink()  # killed between its last checkpoint and its bundle
    before = (folder / "checkpoint.safetensors").read_bytes()
    altered = images.copy()
    altered[0, 0, 0] ^= 1
    np.savez(data, x=altered, y=labels)  # under the same name: the recipe is the same
    assert main_inner([*arguments, "-o", str(folder), "--resume"]) == 4
    assert "not the data that the interrupted run was trained on" in capsys.readouterr().err
    assert (folder / "checkpoint.safetensors").read_bytes() == before
    np.savez(data, x=images, y=labels)
    assert main_inner([*arguments, "-o", str(folder), "--resume"]) == 0
    read_bundle(folder)


def test_a_resumed_run_with_other_threads_says_so_and_records_both(tmp_path, interrupted):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    code, stderr = run(folder, "--resume", "--precision", "fp32", "--threads", "2")
    assert code == 0, stderr
    assert "warning: the interrupted run computed with 1 thread(s), this one with 2" in stderr
    provenance = read_bundle(folder).provenance
    assert (provenance.earlier_num_threads, provenance.num_threads) == ((1,), 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_one_line(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    code, stderr = run(locked / "run")
    assert code == 10
    assert "cannot be written" in stderr


def run_on_a_full_disk(output, *extra, room):
    """A file-size limit of the process is a disk that fills up in the middle of a write."""
    limited = (
        "import resource,runpy,signal,sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); "
        "sys.argv[0]='edgekd'; runpy.run_module('edgekd', run_name='__main__')"
    )
    _, _, _, *arguments = command(output, "--precision", "fp32", *extra)
    whole = [sys.executable, "-c", limited, *arguments]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=300)
    assert done.returncode == 10, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(
    tmp_path, interrupted, uninterrupted
):
    folder = shutil.copytree(interrupted, tmp_path / "run")
    checkpoint = folder / "checkpoint.safetensors"
    before, names = checkpoint.read_bytes(), {entry.name for entry in folder.iterdir()}
    run_on_a_full_disk(folder, "--resume", room=len(before) // 2)
    assert checkpoint.read_bytes() == before
    assert {entry.name for entry in folder.iterdir()} == names  # nor is half a file left
    code, stderr = run(folder, "--resume", "--precision", "fp32")
    assert code == 0, stderr
    assert weights_of(folder) == weights_of(uninterrupted)


def test_a_disk_too_small_for_the_first_checkpoint_leaves_the_recipe_alone(tmp_path):
    run_on_a_full_disk(tmp_path / "run", room=20_000)  # a checkpoint has 60 kB
    assert [entry.name for entry in (tmp_path / "run").iterdir()] == ["recipe.toml"]


def test_a_diverged_run_names_step_and_remedy(tmp_path):
    # Each step multiplies the kernels by 1 - lr * weight_decay = -99: overflow in 20 steps.
    wild = ("--lr", "100", "--set", "weight_decay=1", "--set", "warmup_epochs=0")
    code, stderr = run(tmp_path / "run", *wild, "--precision", "fp32")
    assert code == 9, stderr
    assert re.search(r"the loss became (nan|inf) at step \d+ of epoch \d", stderr)
    assert "lower --lr" in stderr
