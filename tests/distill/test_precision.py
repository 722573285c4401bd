import time

import torch
from recording_console import RecordingConsole
from torch import nn

from edgekd.distill import precision
from edgekd.distill.precision import autocast, choose_precision, faster_precision

CPU = torch.device("cpu")


def in_bf16():
    return torch.is_autocast_enabled("cpu")


def timed_loss(*, fp32_seconds, bf16_seconds, bf16_factor=1.0):
    def step_loss(module):
        time.sleep(bf16_seconds if in_bf16() else fp32_seconds)
        return module.weight.sum() * (bf16_factor if in_bf16() else 1.0)

    return step_loss


def test_autocast_runs_matrix_products_in_bf16_or_not_at_all():
    linear = nn.Linear(2, 2)
    with autocast("bf16", CPU):
        assert linear(torch.ones(1, 2)).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert linear(torch.ones(1, 2)).dtype == torch.float32


def test_the_faster_one_is_chosen():
    module = nn.Linear(2, 2)
    quick_bf16 = timed_loss(fp32_seconds=0.05, bf16_seconds=0.0)
    quick_fp32 = timed_loss(fp32_seconds=0.0, bf16_seconds=0.05)
    assert faster_precision(module, quick_bf16, CPU)[0] == "bf16"
    assert faster_precision(module, quick_fp32, CPU)[0] == "fp32"


def test_a_precision_that_overflows_is_not_chosen_however_fast():
    broken = timed_loss(fp32_seconds=0.05, bf16_seconds=0.0, bf16_factor=float("inf"))
    assert faster_precision(nn.Linear(2, 2), broken, CPU)[0] == "fp32"


def test_a_precision_that_overflows_now_and_then_is_not_chosen():
    factors = iter([1.0, 1.0, float("inf"), 1.0, 1.0])

    def step_loss(module):
        time.sleep(0.0 if in_bf16() else 0.02)
        return module.weight.sum() * (next(factors) if in_bf16() else 1.0)

    assert faster_precision(nn.Linear(2, 2), step_loss, CPU)[0] == "fp32"


def test_the_choice_is_said_with_the_time_the_run_will_take(monkeypatch):
    console = RecordingConsole()
    found = "bf16", {"fp32": (0.02, 0.03), "bf16": (0.0125, 0.0125)}
    monkeypatch.setattr(precision, "faster_precision", lambda *_: found)
    for steps in (1_000, 24_000):  # of 12.5 ms: 12.5 and 300 seconds
        chosen = choose_precision(nn.Linear(1, 1), None, CPU, steps=steps, console=console)
        assert chosen == "bf16"
    assert console.infos[1] == (
        "precision bf16: 20.0 ms a step in fp32, 12.5 ms in bf16; about 12 s for 1,000 steps "
        "at that pace, validation and checkpoints not counted"
    )
    assert "; about 5 min for 24,000 steps at that pace, " in console.infos[3]


def test_one_step_that_other_work_held_up_decides_nothing():
    held_up = iter([0.0, 0.0, 0.05, 0.05, 0.05])  # bf16: the first warms up, the second is quick

    def step_loss(module):
        time.sleep(next(held_up) if in_bf16() else 0.02)
        return module.weight.sum()

    assert faster_precision(nn.Linear(2, 2), step_loss, CPU)[0] == "bf16"


def test_a_shared_processor_is_named_with_what_helps(monkeypatch):
    console = RecordingConsole()
    found = "fp32", {"fp32": (0.01, 0.03, 0.04, 0.02), "bf16": (0.05,) * 4}
    monkeypatch.setattr(precision, "faster_precision", lambda *_: found)
    choose_precision(nn.Linear(1, 1), None, CPU, steps=1_000, console=console)
    assert "about 25 s for 1,000 steps" in console.infos[1]  # as it went, not as it could
    assert console.warnings == [
        "half of these steps took 25 ms or more: other work shares the processor; beside it "
        "--threads 1 is often quicker"
    ]


def test_the_module_is_left_untouched():
    module = nn.BatchNorm1d(2).train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    faster_precision(module, lambda trial: trial(torch.randn(4, 2)).sum(), CPU)
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert module.weight.grad is None
