"""``edgekd teach`` and ``edgekd distill``: from a recipe to a bundle.

Read :func:`distill` from top to bottom: data, student, teacher, method, loop, bundle.
This is the only place that seeds.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from edgekd.bundle import is_bundle, read_bundle, write_bundle
from edgekd.config import TrainRecipe
from edgekd.console import Console, SilentConsole
from edgekd.data.cache import PixelSource
from edgekd.data.dataset import Dataset
from edgekd.data.open import open_dataset
from edgekd.data.preprocess import suggest_preprocess
from edgekd.distill.augment import resolve_augment
from edgekd.distill.batches import Batches
from edgekd.distill.checkpoint import CHECKPOINT_FILE, Checkpoint, read_checkpoint
from edgekd.distill.job import Job
from edgekd.distill.launch import launch, synchronise_norms
from edgekd.distill.loop import Loop
from edgekd.distill.methods.table import make_method
from edgekd.distill.provenance import machine, now, source_commit, versions
from edgekd.distill.workspace import comparable, open_workspace
from edgekd.errors import DataError
from edgekd.evaluate.classification import answers, evaluate
from edgekd.evaluate.metrics import metric_from_logits
from edgekd.records import ArchSpec, Metric, Preprocess, Provenance, SplitName, StudentBundle
from edgekd.students.build import build_student, parse_student
from edgekd.students.count import Cost, count_cost
from edgekd.students.pretrained import load_initial_weights, pretrained_preprocess
from edgekd.teachers.open import open_teacher
from edgekd.teachers.protocol import Capability, Teacher


def distill(
    recipe: TrainRecipe,
    output: Path,
    *,
    console: Console | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> StudentBundle:
    """Train the recipe's student and write it, with its history, as a bundle.

    Args:
        recipe: What to train, on what, how. Without a teacher and with ``method="none"`` this is
            ``edgekd teach``.
        output: The run's folder, which becomes the bundle.
        console: Where to report; nothing is printed by default.
        resume: Continue the interrupted run in ``output`` (or start it, if there is none).
        overwrite: Discard the run in ``output``.

    Returns:
        The bundle's record, with the metric on ``val`` and ``test`` of the last epoch's weights.

    Raises:
        EdgekdError: The subclasses say what: recipe, data, teacher, divergence, output folder.
    """
    console = console or SilentConsole()
    fabric = launch(recipe)
    checkpoint = _open_workspace(fabric, output, recipe, resume=resume, overwrite=overwrite)
    if resume and is_bundle(output):
        console.info(f"{output}: this run is finished already")
        return read_bundle(output)

    material = _open_material(recipe, console)
    _check_same_data(checkpoint, material)
    method = make_method(recipe)
    teacher = _open_teacher(recipe, material, method.teacher_needs, fabric, console)
    torch.manual_seed(recipe.seed)
    student, arch, cost = _build(recipe, material, fabric, console)

    job = Job(
        recipe=recipe,
        fabric=fabric,
        method=method,
        teacher=teacher,
        batches=_batches(recipe, material, fabric, console),
        spec=material.preprocess.image,
        validate=lambda module: material.score(module, "val"),
        folder=output,
        facts={"recipe": comparable(recipe), "data": material.dataset.fingerprint},
        console=console,
    )
    loop = Loop(job, student, checkpoint)
    trained = loop.run()

    weights = safetensors.torch.save(_plain_tensors(trained))
    record = StudentBundle(
        task=recipe.task,
        arch=arch,
        preprocess=material.preprocess,
        labels=material.dataset.class_names,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        num_params=cost.num_params,
        macs=cost.macs,
        uncounted_operators=cost.uncounted_operators,
        metrics=(material.score(trained, "val"), material.score(trained, "test")),
        provenance=_provenance(recipe, material, teacher, loop),
    )
    if fabric.is_global_zero:
        write_bundle(output, record, weights)
    fabric.barrier()
    return record


@dataclass(frozen=True, kw_only=True)
class _Material:
    """The opened data set, how its samples become inputs, and its decoded pixels."""

    dataset: Dataset
    preprocess: Preprocess
    pixels: dict[SplitName, PixelSource]

    def score(self, module: nn.Module, split: SplitName) -> Metric:
        labels = self.dataset.splits[split].labels
        return evaluate(module, self.pixels[split], labels, self.preprocess.image, split=split)


def _open_workspace(
    fabric: Fabric, output: Path, recipe: TrainRecipe, *, resume: bool, overwrite: bool
) -> Checkpoint | None:
    checkpoint = None
    if fabric.is_global_zero:  # one process decides and cleans up, the others look at the result
        checkpoint = open_workspace(output, recipe, resume=resume, overwrite=overwrite)
    fabric.barrier()
    if not fabric.is_global_zero and (output / CHECKPOINT_FILE).exists():
        checkpoint = read_checkpoint(output / CHECKPOINT_FILE)
    fabric.barrier()
    return checkpoint


def _open_material(recipe: TrainRecipe, console: Console) -> _Material:
    dataset = open_dataset(recipe, console)
    if dataset.kind != "image":
        raise DataError(
            f"{recipe.data}: holds sensor windows; the students of this edgekd take images"
        )
    preprocess = suggest_preprocess(dataset, input_size=recipe.input_size, fit=recipe.fit)
    preprocess = pretrained_preprocess(recipe, preprocess)
    spec = preprocess.image
    pixels = {name: PixelSource(samples, spec) for name, samples in dataset.splits.items()}
    return _Material(dataset=dataset, preprocess=preprocess, pixels=pixels)


def _check_same_data(checkpoint: Checkpoint | None, material: _Material) -> None:
    if checkpoint is not None and checkpoint.facts["data"] != material.dataset.fingerprint:
        raise DataError(
            f"{material.dataset.source}: not the data that the interrupted run was trained on "
            "(contents, labels or splits differ); restore it, or start again with --overwrite"
        )


def _open_teacher(
    recipe: TrainRecipe,
    material: _Material,
    needs: frozenset[Capability],
    fabric: Fabric,
    console: Console,
) -> Teacher | None:
    if recipe.teacher is None:
        return None
    teacher = open_teacher(
        recipe.teacher,
        preprocess=material.preprocess,
        class_names=material.dataset.class_names,
        pretrained=recipe.pretrained,
        needs=needs,
        console=console,
    )
    teacher.to(fabric.device)
    if fabric.is_global_zero:
        _introduce(teacher, material, fabric, console)
    return teacher


def _introduce(teacher: Teacher, material: _Material, fabric: Fabric, console: Console) -> None:
    """Say how good the teacher is here: a wrong normalisation shows before hours are spent."""
    labels = material.dataset.splits["val"].labels
    logits = answers(
        lambda view: teacher(view).logits, material.pixels["val"], device=fabric.device
    )
    metric = metric_from_logits(logits, labels, split="val")
    say = console.info if metric.value > 2 / len(material.dataset.class_names) else console.warn
    say(
        f"teacher {teacher.ref.source}: {metric.name} {metric.value:.4f} on "
        f"{metric.num_samples:,} validation samples"
    )


def _build(
    recipe: TrainRecipe, material: _Material, fabric: Fabric, console: Console
) -> tuple[nn.Module, ArchSpec, Cost]:
    spec = material.preprocess.image
    arch = parse_student(
        recipe.student,
        recipe.student_options,
        num_classes=len(material.dataset.class_names),
        in_channels=spec.channels,
        input_size=(spec.height, spec.width),
    )
    student = build_student(arch)
    load_initial_weights(student, arch, recipe, console)
    cost = count_cost(student, [(spec.channels, spec.height, spec.width)])
    console.info(
        f"{recipe.student}: {cost.num_params:,} parameters, {cost.macs:,} MACs at "
        f"{spec.height}x{spec.width}"
    )
    return synchronise_norms(student, fabric), arch, cost


def _batches(recipe: TrainRecipe, material: _Material, fabric: Fabric, console: Console) -> Batches:
    train = material.dataset.splits["train"]
    augment = resolve_augment(
        recipe.augment, material.preprocess.image, num_classes=len(material.dataset.class_names)
    )
    console.info(f"{len(train):,} training samples; {augment.describe()}")
    return Batches(
        pixels=material.pixels["train"],
        labels=train.labels,
        augment=augment,
        batch_size=min(recipe.batch_size, len(train)),
        seed=recipe.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        device=fabric.device,
    )


def _provenance(
    recipe: TrainRecipe, material: _Material, teacher: Teacher | None, loop: Loop
) -> Provenance:
    return Provenance(
        data=material.dataset.ref(),
        teacher=teacher.ref if teacher is not None else None,
        recipe=recipe.model_dump(mode="json"),
        seed=recipe.seed,
        versions=versions(),
        commit=source_commit(),
        machine=machine(),
        num_threads=torch.get_num_threads(),
        precision=loop.precision,
        train_seconds=loop.progress.seconds,
        created=now(),
    )


def _plain_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state dict in plain memory order, on the CPU, as safetensors wants it."""
    return {
        name: tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format).clone()
        for name, tensor in module.state_dict().items()
    }
