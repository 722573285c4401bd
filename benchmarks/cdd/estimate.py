"""How many CPU hours a table will take, from steps that are really taken.

    python -m benchmarks.cdd.estimate retrieval --threads 1 --steps 5 --precision bf16

Every row's method runs on random images with a random teacher; loading and augmenting images,
validation and checkpoints come on top, some five to ten per cent. torch-pruning's row is taken to
cost what ``kd`` on the narrow student costs, and CDD that shrinks no less than CDD. The recipes'
epochs are such that an experiment takes about two hours of one core.
"""

import argparse
import statistics
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.cdd.experiments import DENSE, EXPERIMENTS, OURS, PEER, TEACHER, Experiment
from edgekd.config import SettledRecipe, TrainRecipe, build_recipe
from edgekd.distill.methods.protocol import Batch, Run
from edgekd.distill.methods.table import make_method
from edgekd.distill.optimization import make_optimizer
from edgekd.students.build import build_student, parse_student
from edgekd.students.head import EmbeddingNetwork, IdentityNetwork
from edgekd.students.taps import pooled_outputs
from edgekd.teachers.protocol import TeacherOutput

CLASSES = {"retrieval": 868, "classification": 10}  # of Omniglot, less a tenth; of CIFAR-10
SIZE = {"retrieval": (1, 24), "classification": (3, 24)}


def network(recipe: SettledRecipe) -> nn.Module:
    """What is trained."""
    channels, size = SIZE[recipe.task]
    is_retrieval = recipe.task == "retrieval"
    assert recipe.student is not None
    arch = parse_student(
        recipe.student,
        recipe.student_options,
        num_classes=CLASSES[recipe.task],
        in_channels=channels,
        input_size=(size, size),
        embedding_dim=recipe.retrieval.embedding_dim if is_retrieval else None,
    )
    built = build_student(arch)
    if isinstance(built, EmbeddingNetwork):
        return IdentityNetwork(built, CLASSES[recipe.task])
    return built


def step_seconds(
    recipe: SettledRecipe, teacher_recipe: SettledRecipe, steps: int, precision: str
) -> float:
    """CPU seconds of one step: teacher, student, loss, backward, what the method does, update."""
    channels, size = SIZE[recipe.task]
    shape = (channels, size, size)
    teacher = network(teacher_recipe).eval()
    method = make_method(recipe)
    method.enter(Run(input_shape=shape, steps_per_epoch=2 * steps))
    layers = method.teacher_layers(teacher) if "pooled" in method.teacher_needs else ()
    module = method.attach(network(recipe)).train()
    optimizer = make_optimizer(module, recipe, method.parameter_groups(module))
    seconds = []
    for _ in range(steps + 1):
        inputs = torch.randn(recipe.batch_size, *shape).contiguous(
            memory_format=torch.channels_last
        )
        targets = torch.arange(recipe.batch_size) // 4 % CLASSES[recipe.task]
        started = time.process_time()
        with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
            answer = None
            if method.teacher_needs:
                with torch.no_grad(), pooled_outputs(layers) as pooled:
                    found = teacher(inputs)
                logits = found if isinstance(found, torch.Tensor) else found.logits
                answer = TeacherOutput(logits=logits.float(), pooled=tuple(pooled))
            batch = Batch(
                inputs=(inputs,), targets=targets, indices=torch.arange(len(inputs)), teacher=answer
            )
            total = method.losses(module, batch).total
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        method.after_backward(module)
        optimizer.step()
        method.after_step(module)
        seconds.append(time.process_time() - started)
    return statistics.median(seconds[1:])


def recipes(experiment: Experiment) -> dict[str, SettledRecipe]:
    """Row -> recipe, of the networks to start from and every kind of row with its own costs."""
    narrow = {"student_options": {"width": experiment.narrow}}
    by_kd = {"method": "kd", "teacher": "random"}
    in_second_phase = {"cdd": {"mask_from": 0.0}, "method": "cdd", "teacher": "random"}
    plans: dict[str, tuple[Path, dict[str, Any]]] = {
        TEACHER: (experiment.teacher, {}),
        experiment.narrow_start: (experiment.teacher, narrow),
        OURS: (experiment.student, in_second_phase),
        DENSE: (experiment.student, by_kd),
        f"narrow {experiment.narrow}, labels": (experiment.student, {**narrow, "method": "none"}),
        f"narrow {experiment.narrow}, kd": (experiment.student, {**narrow, **by_kd}),
    }
    return {
        row: build_recipe(TrainRecipe, recipe=file, flags={"data": "none", **flags}).settled(
            experiment.train_samples
        )
        for row, (file, flags) in plans.items()
    }


def total_hours(experiment: Experiment, hours: dict[str, float]) -> float:
    """Of the networks to start from, and of every row as often as there are seeds.

    Args:
        experiment: Whose rows.
        hours: Of one run of everything in :func:`recipes`.
    """
    kd = f"narrow {experiment.narrow}, kd"
    like = {PEER: kd, "CDD, magnitude mask": OURS, "CDD, shrinking while training": OURS}
    rows = sum(hours[like.get(row, row)] for row in experiment.rows)
    return hours[TEACHER] + hours[experiment.narrow_start] + len(experiment.seeds) * rows


def main() -> None:
    """Measure, multiply, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=sorted(EXPERIMENTS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), help="the experiment's if left out"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    experiment = EXPERIMENTS[given.experiment]
    hours = {}
    measured = recipes(experiment)
    precision = given.precision or experiment.precision
    for row, recipe in measured.items():
        seconds = step_seconds(recipe, measured[TEACHER], given.steps, precision)
        steps = recipe.epochs * (experiment.train_samples // recipe.batch_size)
        hours[row] = seconds * steps / 3600
        print(f"{row}: {seconds:.2f} s a step, {steps:,} steps, {hours[row]:.2f} CPU hours")
    print(
        f"{given.experiment}: {total_hours(experiment, hours):.1f} CPU hours for "
        f"{len(experiment.rows)} rows x {len(experiment.seeds)} seeds, the teacher and the "
        "narrow network to start from"
    )


if __name__ == "__main__":
    main()
