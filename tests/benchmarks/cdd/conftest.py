"""Plans of the CDD experiments whose runs are bundles written by hand."""

import json
from dataclasses import replace

import pytest

from benchmarks.cdd.experiments import EXPERIMENTS, Plan


def write_run(folder, value, *, metric="top1", macs=1000, num_params=100, weights="w"):
    """A finished run as far as tables read it."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "weights_sha256": weights,
        "macs": macs,
        "num_params": num_params,
        "metrics": [
            {"name": metric, "value": 0.5, "split": "val", "num_samples": 7},
            {"name": metric, "value": value, "split": "test", "num_samples": 1000},
        ],
        "provenance": {
            "train_seconds": 90.0,
            "num_threads": 1,
            "machine": "a processor",
            "precision": "fp32",
            "recipe": {"train_folder": None, "test_folder": None},
        },
    }
    (folder / "bundle.json").write_text(json.dumps(record))


@pytest.fixture(params=EXPERIMENTS)
def any_plan(request, tmp_path):
    return Plan(EXPERIMENTS[request.param], "data.zip", tmp_path / "runs", 1, "fp32")


@pytest.fixture
def plan(tmp_path):
    experiment = replace(EXPERIMENTS["classification"], seeds=(0, 1))
    return Plan(experiment, "data.zip", tmp_path / "runs", 1, "fp32")


@pytest.fixture
def finished():
    return write_run
