"""Drivers run for hours and seldom: what they say to edgekd is tried here."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.cdd.estimate import recipes, step_seconds
from benchmarks.cdd.experiments import EXPERIMENTS

ROOT = Path(__file__).parents[2]


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
