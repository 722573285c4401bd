"""The teacher of a run: opened for what the method needs of it, and scored before it teaches."""

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor

from edgekd.config import TrainRecipe
from edgekd.console import Console
from edgekd.distill.material import Material
from edgekd.distill.methods.protocol import Method
from edgekd.evaluate.classification import answers
from edgekd.evaluate.metrics import metrics_of
from edgekd.teachers.open import open_teacher
from edgekd.teachers.protocol import Capability, Teacher, TeacherOutput


def open_run_teacher(
    recipe: TrainRecipe, material: Material, method: Method, fabric: Fabric, console: Console
) -> Teacher | None:
    """Open the recipe's teacher, if it has one, on the run's device, and score it once.

    Raises:
        ModelError: If it cannot be opened, or cannot give what the method needs.
    """
    if recipe.teacher is None:
        return None
    needs: frozenset[Capability] = method.teacher_needs
    if recipe.task == "retrieval":  # to be scored by, and to tell a teacher of another task
        needs |= {"embedding"}
    teacher = open_teacher(
        recipe.teacher,
        preprocess=material.preprocess,
        class_names=material.dataset.train_class_names,
        pretrained=recipe.pretrained,
        needs=needs,
        console=console,
        layers=method.teacher_layers,
    )
    teacher.to(fabric.device)
    if fabric.is_global_zero:
        _introduce(teacher, material, fabric, console)
    return teacher


def _introduce(teacher: Teacher, material: Material, fabric: Fabric, console: Console) -> None:
    """Say how good the teacher is here: a wrong normalisation shows before hours are spent."""
    val = material.dataset.splits["val"]
    found = answers(
        lambda *views: _deployed(teacher(*views)),
        material.sources["val"],
        device=fabric.device,
        console=console,
        description="Scoring the teacher",
    )
    metric = metrics_of(material.task, found, val.labels, val.cameras, val.roles, split="val")[0]
    chance = 1 / len(np.unique(val.labels))
    say = console.info if metric.value > min(2 * chance, (1 + chance) / 2) else console.warn
    say(
        f"teacher {teacher.ref.source}: {metric.name} {metric.value:.4f} on "
        f"{metric.num_samples:,} validation samples"
    )


def _deployed(output: TeacherOutput) -> Tensor:
    return output.logits if output.embedding is None else output.embedding
