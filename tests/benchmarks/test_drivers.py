"""Drivers run for hours and seldom: what they say to edgekd is tried here."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cdd.estimate import recipes, step_seconds
from benchmarks.cdd.experiments import EXPERIMENTS
from benchmarks.lsskd import cifar10, daily_sports
from edgekd.cli.main import main_inner

ROOT = Path(__file__).parents[2]


def parsed(capsys, *arguments):
    """What the command line makes of a driver's command, without training."""
    status = main_inner([*map(str, arguments), "--print-recipe"])
    said = capsys.readouterr()
    assert status == 0, said.err
    return said.out


def test_every_driver_can_be_imported():
    files = sorted((ROOT / "benchmarks").rglob("*.py"))
    ours = [file for file in files if not file.stem.startswith("peer_")]  # those need the peers
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in ours]
    assert "benchmarks.kd_overhead.run" in names
    program = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    subprocess.run([sys.executable, "-c", program, *names], check=True, cwd=ROOT)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_estimate_of_the_cdd_tables_has_the_recipes_of_their_rows(name):
    narrow = EXPERIMENTS[name].narrow
    found = recipes(EXPERIMENTS[name])
    methods = {row: (recipe.method, recipe.teacher is None) for row, recipe in found.items()}
    assert methods == {
        "teacher": ("none", True),
        f"narrow {narrow}, taught": ("none", True),
        "CDD": ("cdd", False),
        "dense, kd": ("kd", False),
        f"narrow {narrow}, labels": ("none", True),
        f"narrow {narrow}, kd": ("kd", False),
    }


@pytest.mark.parametrize("row", ["teacher", "CDD", "narrow 19, labels", "narrow 19, kd"])
def test_the_estimate_takes_a_step_of_every_row(row):
    found = recipes(EXPERIMENTS["classification"])
    few = found[row].model_copy(update={"batch_size": 4})
    assert step_seconds(few, found["teacher"], 1, "fp32") > 0


def test_every_row_of_the_lsskd_tables_is_a_command_that_is_understood(
    tmp_path, monkeypatch, capsys
):
    commands = []
    for driver in (cifar10, daily_sports):
        monkeypatch.setattr(driver, "edgekd", lambda *given: commands.append(given))
        monkeypatch.setattr(driver, "bundle", lambda folder: {})
    plan = cifar10.Plan(
        data=Path("d.zip"),
        teacher=Path("runs/teacher"),
        runs=tmp_path,
        results=tmp_path / "results.jsonl",
        seeds=(0,),
        fractions=(0.25,),
        jobs=1,
        common=("--threads", 1, "--precision", "bf16"),
        changes=cifar10.REDUCED,
    )
    for run in (*cifar10.equal_epochs(plan), *cifar10.few_labels(plan)):
        cifar10.train(plan, run)
    sports = daily_sports.Plan(
        data=Path("d.npz"), runs=tmp_path, results=plan.results, subjects=(8,), common=()
    )
    monkeypatch.setattr(daily_sports, "leave_modalities_out", lambda *_: None)
    daily_sports.train_subject(sports, 8)
    assert len(commands) == 2 * len(cifar10.ROWS) + 5  # three sensors alone, two fusions
    for command in commands:
        parsed(capsys, *command)
