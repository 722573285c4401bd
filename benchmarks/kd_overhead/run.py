"""What the loop costs: a KD step through edgekd against a bare PyTorch loop with the same passes.

    python -m benchmarks.kd_overhead.run

Both run the same student, teacher, loss, optimizer and precision on batches of the same shape, in
turns within one process. The bare loop has its one batch in memory and does nothing else; edgekd
also shuffles, crops, flips, normalises, schedules, checks the loss, counts, saves a checkpoint and
writes the history. Appends a line to ``results.jsonl`` beside itself, or to ``--results``.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Self

import numpy as np
import torch

from edgekd.config import SettledRecipe, TrainRecipe
from edgekd.console import SilentConsole
from edgekd.distill.augment import resolve_augment
from edgekd.distill.batches import Batches
from edgekd.distill.job import Job
from edgekd.distill.launch import launch
from edgekd.distill.loop import Loop
from edgekd.distill.losses.logits import kd_loss, label_loss
from edgekd.distill.methods.table import make_method
from edgekd.distill.optimization import make_optimizer
from edgekd.distill.precision import autocast
from edgekd.distill.provenance import machine, versions
from edgekd.records import ImageInput, Metric, TeacherRef
from edgekd.students.build import build_student, parse_student
from edgekd.teachers.protocol import Capability, TeacherOutput

HERE = Path(__file__).parent
STUDENT = "resnet8"
WARM_UP_STEPS = 5
SPEC = ImageInput(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.25,) * 3)


class Pixels:
    """Random images in memory, as a decoded data set is."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self.array = rng.integers(0, 256, size=(count, 32, 32, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        return (self.array[indices],)


class FrozenTeacher:
    """A module that answers with logits and nothing more, for both loops alike."""

    def __init__(self, width: int) -> None:
        self.module = network("resnet20", width).eval().requires_grad_(False)
        self.ref = TeacherRef(source="random", kind="bench", sha256=None)
        self.num_classes = 10
        self.gives = frozenset[Capability]({"logits"})

    def to(self, device: torch.device) -> Self:
        """Stays where it is: both loops run on the CPU."""
        return self

    @torch.no_grad()
    def __call__(self, *views: torch.Tensor) -> TeacherOutput:
        """Logits of the view."""
        return TeacherOutput(logits=self.module(*views))


def network(name: str, width: int) -> torch.nn.Module:
    """A CIFAR ResNet in channels-last memory order."""
    arch = parse_student(name, {"width": width}, num_classes=10, in_channels=3, input_size=(32, 32))
    return build_student(arch).to(memory_format=torch.channels_last)


def bare_seconds(recipe: SettledRecipe, teacher: FrozenTeacher, steps: int) -> float:
    """Seconds per step of the loop one would write by hand."""
    student = network(STUDENT, width=16).train()
    optimizer = make_optimizer(student, recipe)
    images = torch.randn(recipe.batch_size, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (recipe.batch_size,))
    assert recipe.precision != "auto"
    start = time.perf_counter()
    for _ in range(steps):
        with autocast(recipe.precision, torch.device("cpu")):
            with torch.no_grad():
                target = teacher.module(images)
            logits = student(images)
            soft = kd_loss(logits, target, temperature=4.0)
            loss = 0.9 * soft + 0.1 * label_loss(logits, labels, label_smoothing=0.0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - start) / steps


def edgekd_seconds(recipe: SettledRecipe, teacher: FrozenTeacher, steps: int) -> float:
    """Seconds per step of one epoch of ``steps`` steps through the loop."""
    pixels = Pixels(steps * recipe.batch_size)
    fabric = launch(recipe)
    batches = Batches(
        source=pixels,
        labels=np.arange(len(pixels)) % 10,
        augment=resolve_augment(recipe.augment, (SPEC,), num_classes=10, epochs=recipe.epochs),
        batch_size=recipe.batch_size,
        seed=0,
        rank=0,
        world_size=1,
        device=fabric.device,
    )
    with tempfile.TemporaryDirectory() as folder:
        job = Job(
            recipe=recipe,
            fabric=fabric,
            method=make_method(recipe),
            teacher=teacher,
            batches=batches,
            specs=(SPEC,),
            validate=lambda _: Metric(name="top1", value=0.0, split="val", num_samples=1),
            folder=Path(folder),
            facts={"recipe": {}, "data": ""},
            console=SilentConsole(),
        )
        loop = Loop(job, network(STUDENT, width=16), None)
        start = time.perf_counter()
        loop.run()
        return (time.perf_counter() - start) / steps


def main() -> None:
    """Measure in turns and append the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl")
    arguments = parser.parse_args()
    recipe = TrainRecipe(
        data="random",
        student=STUDENT,
        teacher="random",
        method="kd",
        epochs=1,
        batch_size=arguments.batch_size,
        lr=0.1,
        precision=arguments.precision,
        num_threads=arguments.threads,
    ).settled(arguments.steps * arguments.batch_size)
    torch.set_num_threads(arguments.threads)
    teacher = FrozenTeacher(width=32)
    bare_seconds(recipe, teacher, min(WARM_UP_STEPS, arguments.steps))
    bare, ours = [], []
    for _ in range(arguments.rounds):
        bare.append(bare_seconds(recipe, teacher, arguments.steps))
        ours.append(edgekd_seconds(recipe, teacher, arguments.steps))
    ratios = [mine / theirs for mine, theirs in zip(ours, bare, strict=True)]
    asked = {name: value for name, value in vars(arguments).items() if name != "results"}
    result = {
        **asked,
        "bare_seconds_per_step": bare,
        "edgekd_seconds_per_step": ours,
        "ratio_median": statistics.median(ratios),
        "machine": machine(),
        "versions": versions(),
    }
    with arguments.results.open("a") as file:
        file.write(json.dumps(result) + "\n")
    print(f"a KD step through edgekd costs {statistics.median(ratios):.3f} of a bare one")


if __name__ == "__main__":
    main()
