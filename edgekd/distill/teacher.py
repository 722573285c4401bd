"""The teacher of a run: opened for what the method needs of it, and scored before it teaches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor

from edgekd.bundle import is_bundle, read_bundle
from edgekd.config import TrainRecipe
from edgekd.console import Console
from edgekd.distill.material import Material
from edgekd.distill.methods.protocol import Method
from edgekd.evaluate.classification import answers
from edgekd.evaluate.metrics import metrics_of
from edgekd.records import ImageInput, InputSpec, StudentBundle
from edgekd.teachers.open import open_teacher
from edgekd.teachers.protocol import Capability, Teacher, TeacherOutput

_WORTH_A_WORD: Final = 1.5  # times cheaper


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
    folder = Path(recipe.teacher)
    record = read_bundle(folder) if is_bundle(folder) else None
    if fabric.is_global_zero:
        _introduce(teacher, record, material, fabric, console)
    if record is not None and recipe.input_size is None:
        _compare_sizes(record, material, console)
    return teacher


def _introduce(
    teacher: Teacher,
    record: StudentBundle | None,
    material: Material,
    fabric: Fabric,
    console: Console,
) -> None:
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
    doubts = []
    if metric.value <= min(2 * chance, (1 + chance) / 2):
        doubts.append("hardly better than chance, so it teaches little")
    if record is not None and _is_of_other_data(record, material):
        doubts.append(_other_data(record, material))
    say = console.warn if doubts else console.info
    score = f"{metric.name} {metric.value:.4f} on {metric.num_samples:,} validation samples"
    say("; ".join((f"teacher {teacher.ref.source}: {score}", *doubts)))


def _is_of_other_data(record: StudentBundle, material: Material) -> bool:
    if record.provenance.data.fingerprint != material.dataset.fingerprint:
        return True
    theirs, ours = (
        _image(inputs) for inputs in (record.preprocess.inputs, material.preprocess.inputs)
    )
    return theirs is not None and ours is not None and theirs.channels != ours.channels


def _other_data(record: StudentBundle, material: Material) -> str:
    theirs, ours = record.provenance.data.source, material.dataset.source
    if theirs == ours:
        return f"it was trained on other contents, labels or splits of {ours}"
    return (
        f"it was trained on {theirs} ({_described(record.preprocess.inputs)}), the student learns "
        f"from {ours} ({_described(material.preprocess.inputs)})"
    )


def _compare_sizes(record: StudentBundle, material: Material, console: Console) -> None:
    """Tell a user who has not chosen a size that the teacher makes do with less."""
    theirs, ours = (
        _image(inputs) for inputs in (record.preprocess.inputs, material.preprocess.inputs)
    )
    if theirs is None or ours is None or theirs.height != theirs.width:
        return
    times = ours.height * ours.width / (theirs.height * theirs.width)
    if times >= _WORTH_A_WORD:
        console.info(
            f"the teacher works at {theirs.height}x{theirs.width} pixels, the student at "
            f"{ours.height}x{ours.width}: --input-size {theirs.height} makes it about "
            f"{times:.1f} times cheaper"
        )


def _image(inputs: Sequence[InputSpec]) -> ImageInput | None:
    """The only input, where it is an image."""
    first = inputs[0]
    return first if len(inputs) == 1 and isinstance(first, ImageInput) else None


def _described(inputs: Sequence[InputSpec]) -> str:
    return ", ".join(f"{spec.name} {'x'.join(map(str, spec.shape))}" for spec in inputs)


def _deployed(output: TeacherOutput) -> Tensor:
    return output.logits if output.embedding is None else output.embedding
