"""How much of a training step is saved once CDD's dead channels are removed while it trains.

    python -m benchmarks.cdd.shrinking retrieval classification

Steps of the whole student with its indicators and of one with the channels that the first CDD
student of ``results.jsonl`` ended with, in turns: the teacher's answer, forward, backward, update,
on random images, one thread. The ratio says what an epoch saves at most, after the last channel has
gone; loading images, which costs the same, comes on top of both.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks.cdd.estimate import SIZE, network, recipes
from benchmarks.cdd.experiments import EXPERIMENTS, HERE, OURS, TEACHER, Experiment
from benchmarks.commands import rows_of
from edgekd.distill.methods.cdd.indicator import insert_indicators
from edgekd.distill.methods.cdd.narrow import narrow_to
from edgekd.distill.provenance import machine
from edgekd.students.blocks import require_sites

ROUNDS = 15


def widths_of(experiment: Experiment, results: Path) -> tuple[int, ...]:
    """Channels per site of the first finished CDD student.

    Raises:
        SystemExit: If there is none.
    """
    for row in rows_of(results):
        if (row["experiment"], row.get("row")) == (experiment.name, OURS):
            return tuple(row["arch"]["widths"])
    raise SystemExit(f"{results}: no finished CDD student of {experiment.name}")


def stepper(student: nn.Module, teacher: nn.Module, inputs: torch.Tensor) -> Callable[[], float]:
    """Takes a step and returns the seconds of it."""
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-4, momentum=0.9)

    def step() -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                teacher(inputs)
            answer = student(inputs)
        logits = answer if isinstance(answer, torch.Tensor) else answer.logits
        optimizer.zero_grad(set_to_none=True)
        logits.float().square().mean().backward()
        optimizer.step()
        return time.perf_counter() - started

    return step


def milliseconds(experiment: Experiment, widths: tuple[int, ...]) -> tuple[float, float]:
    """Median step of the whole student and of the narrow one."""
    settled = recipes(experiment)
    recipe, teacher = settled[OURS], network(settled[TEACHER]).eval()
    channels, size = SIZE[recipe.task]
    inputs = torch.randn(recipe.batch_size, channels, size, size)
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    steps = []
    for is_narrow in (False, True):
        student = network(recipe)
        sites = require_sites(student, purpose="shrink")
        insert_indicators(student, sites)
        if is_narrow:
            narrow_to(student, sites, [torch.arange(width) for width in widths])
        student = student.to(memory_format=torch.channels_last).train()
        steps.append(stepper(student, teacher, inputs))
    taken = [[step() for step in steps] for _ in range(ROUNDS + 2)][2:]
    whole, narrow = (1e3 * statistics.median(times) for times in zip(*taken, strict=True))
    return whole, narrow


def main() -> None:
    """Parse, time, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="+", choices=sorted(EXPERIMENTS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    lines = [
        f"A training step, median of {ROUNDS} in turns, one thread, bf16, {machine()}.",
        "",
        "| experiment | all channels, ms | dead channels removed, ms | saved % |",
        "|---|---|---|---|",
    ]
    for name in given.experiments:
        experiment = EXPERIMENTS[name]
        whole, narrow = milliseconds(experiment, widths_of(experiment, HERE / "results.jsonl"))
        saved = 100 * (1 - narrow / whole)
        lines.append(f"| {name} | {whole:.0f} | {narrow:.0f} | {saved:.1f} |")
    text = "\n".join(lines) + "\n"
    (HERE / "shrinking.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
