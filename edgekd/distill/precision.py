"""fp32 or bf16: measured on the model at hand, not guessed."""

import copy
import math
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal

import torch
from torch import Tensor, nn

from edgekd.console import Console

ChosenPrecision = Literal["fp32", "bf16"]

_TRIAL_STEPS: Final = 4  # per precision, after one that warms caches up
_GAIN: Final = 0.95  # bf16 has to save 5 % before its coarser sums are worth having
_DISTURBED: Final = 1.5  # median over quickest step: more than the jitter of a few steps


def autocast(precision: ChosenPrecision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which forward passes run; weights and losses stay fp32."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def choose_precision(
    module: nn.Module,
    step_loss: Callable[[nn.Module], Tensor],
    device: torch.device,
    *,
    steps: int,
    console: Console,
) -> ChosenPrecision:
    """What :func:`faster_precision` finds, said on ``console`` with how long ``steps`` take.

    That holds while the processor is as free as it was while it was measured.
    """
    console.info("timing a few steps in fp32 and in bf16")
    chosen, times = faster_precision(module, step_loss, device)
    seconds = {precision: min(taken) for precision, taken in times.items()}
    usual = statistics.median(times[chosen])
    whole = steps * usual
    about = f"{whole / 60:.0f} min" if whole >= 90 else f"{whole:.0f} s"
    console.info(
        f"precision {chosen}: {1e3 * seconds['fp32']:.1f} ms a step in fp32, "
        f"{1e3 * seconds['bf16']:.1f} ms in bf16; about {about} for "
        f"{steps:,} step{'s' * (steps != 1)} at that pace, validation and checkpoints not counted"
    )
    if usual > _DISTURBED * seconds[chosen]:
        console.warn(
            f"half of these steps took {1e3 * usual:.0f} ms or more: other work shares the "
            "processor; beside it --threads 1 is often quicker"
        )
    return chosen


def faster_precision(
    module: nn.Module, step_loss: Callable[[nn.Module], Tensor], device: torch.device
) -> tuple[ChosenPrecision, dict[str, tuple[float, ...]]]:
    """Time training steps of a copy of ``module`` in both precisions.

    Args:
        module: Left untouched.
        step_loss: Runs one forward pass of the module it is given and returns the loss.
        device: Where ``module`` lives.

    Returns:
        The faster precision whose loss stays finite (fp32 unless bf16 saves at least 5 %), and the
        seconds that each step took. The quickest step of each decides: other work on the machine
        only adds to a time.
    """
    times: dict[str, tuple[float, ...]] = {}
    for precision in ("fp32", "bf16"):
        trial = copy.deepcopy(module)
        taken = []
        for _ in range(_TRIAL_STEPS + 1):
            start = time.perf_counter()
            with autocast(precision, device):
                loss = step_loss(trial)
            torch.autograd.backward(loss)
            finite = bool(torch.isfinite(loss))
            taken.append(time.perf_counter() - start if finite else math.inf)
        # one step that is not finite is enough: the run would meet more of them
        times[precision] = tuple(taken[1:] if all(map(math.isfinite, taken)) else [math.inf])
    faster = min(times["bf16"]) < _GAIN * min(times["fp32"])
    return ("bf16" if faster else "fp32"), times
