"""Two processes see what one process sees."""

import subprocess
import sys

import pytest
import safetensors.torch
import torch

# No BatchNorm: on the CPU each process normalises its own half of the batch (no SyncBatchNorm).
PLAN = [
    *("--data", "builtin:digits", "--model", "timm:convnext_atto", "--input-size", "32"),
    *("--set", "student_options={depths=[1,1,1,1], dims=[8,8,8,8]}"),
    *("--epochs", "1", "--batch-size", "64", "--lr", "0.02", "--precision", "fp32"),
    *("--set", "augment.crop_padding=2", "--set", "augment.flip=true", "--threads", "1"),
]


def train(output, launcher):
    command = [sys.executable, "-m", *launcher, "teach", *PLAN, "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return safetensors.torch.load_file(output / "weights.safetensors")


@pytest.mark.parametrize(
    "launcher",
    [
        [
            "torch.distributed.run",
            "--nproc-per-node",
            "2",
            "--master-port",
            "29533",
            "-m",
            "edgekd",
        ],
    ],
)
def test_two_processes_end_with_the_weights_of_one(tmp_path, launcher):
    alone = train(tmp_path / "one", ["edgekd"])
    together = train(tmp_path / "two", launcher)
    assert alone.keys() == together.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-3, atol=2e-5, msg=name)
