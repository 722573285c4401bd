"""``edgekd teach`` and ``edgekd distill``: from a recipe to a bundle.

Read :func:`_distill` from top to bottom: data, student, teacher, method, loop, bundle.
This is the only place that seeds.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from edgekd.bundle import is_bundle, read_bundle, write_bundle
from edgekd.config import TrainRecipe
from edgekd.console import Console, SilentConsole
from edgekd.distill.checkpoint import Checkpoint
from edgekd.distill.early import check_before_data
from edgekd.distill.job import Job
from edgekd.distill.launch import launch, warn_about_threads
from edgekd.distill.loop import Loop
from edgekd.distill.material import Material, make_batches, open_material
from edgekd.distill.methods.protocol import Method
from edgekd.distill.methods.table import make_method
from edgekd.distill.provenance import machine, now, source_commit, versions
from edgekd.distill.teacher import open_run_teacher
from edgekd.distill.workspace import (
    alone_in,
    claim_workspace,
    comparable,
    open_workspace,
    thread_counts,
)
from edgekd.errors import DataError
from edgekd.records import ArchSpec, InputSpec, Provenance, SplitName, StudentBundle
from edgekd.students.build import build_student, parse_student_for
from edgekd.students.count import count_cost
from edgekd.students.head import EmbeddingNetwork, IdentityNetwork, head_tensors
from edgekd.students.plain import require_plain
from edgekd.students.pretrained import load_initial_weights


def distill(
    recipe: TrainRecipe,
    output: Path,
    *,
    console: Console | None = None,
    resume: bool = False,
    overwrite: bool = False,
    guest: Method | None = None,
) -> StudentBundle:
    """Train the recipe's student and write it, with its history, as a bundle.

    Args:
        recipe: What to train, on what, how. Without a teacher and with ``method="none"`` this is
            ``edgekd teach``.
        output: The run's folder, which becomes the bundle.
        console: Where to report; nothing is printed by default.
        resume: Continue the interrupted run in ``output`` (or start it, if there is none).
        overwrite: Discard the run in ``output``.
        guest: A method that is in no table, for a benchmark of somebody else's; otherwise the
            recipe's. Its student may be a network that edgekd cannot build.

    Returns:
        The bundle's record, with the metrics on ``val`` of the last epoch's weights, and on
        ``test`` unless the recipe leaves that unread.

    Raises:
        EdgekdError: The subclasses say what: recipe, data, teacher, divergence, output folder.
    """
    console = console or SilentConsole()
    fabric = launch(recipe)
    warn_about_threads(recipe, fabric, console)
    with alone_in(output, fabric):
        return _distill(
            recipe, output, fabric, console, resume=resume, overwrite=overwrite, guest=guest
        )


def _distill(
    recipe: TrainRecipe,
    output: Path,
    fabric: Fabric,
    console: Console,
    *,
    resume: bool,
    overwrite: bool,
    guest: Method | None,
) -> StudentBundle:
    checkpoint = open_workspace(output, recipe, resume=resume, overwrite=overwrite)
    fabric.barrier()  # all processes have looked before one of them writes
    if resume and is_bundle(output):
        console.info(f"{output}: this run is finished already")
        return read_bundle(output)

    check_before_data(recipe)
    material = open_material(recipe, console)
    _check_same_data(checkpoint, material)
    train = material.dataset.splits["train"]
    settled = recipe.settled(
        len(train),
        num_identities=len(np.unique(train.labels)),
        num_processes=fabric.world_size,
    )
    method = guest or make_method(settled)
    teacher = open_run_teacher(settled, material, method, fabric, console)
    torch.manual_seed(settled.seed)
    student, arch = _build(settled, material, console)

    job = Job(
        recipe=settled,
        fabric=fabric,
        method=method,
        teacher=teacher,
        batches=make_batches(settled, material, fabric, console),
        specs=material.preprocess.inputs,
        validate=material.validate,
        folder=output,
        facts={
            "recipe": comparable(recipe),
            "data": material.dataset.fingerprint,
            "thread_counts": thread_counts(checkpoint, console),
        },
        console=console,
    )
    loop = Loop(job, student, checkpoint)
    if checkpoint is None and fabric.is_global_zero:
        claim_workspace(output, recipe)
    del checkpoint  # the loop has taken it back; a table of soft labels is large
    trained, head = _without_head(loop.run())
    finished = method.finished_arch(arch)
    # A guest's network may be of no family: whether edgekd can build it anew, an export proves.
    cost = (
        require_plain(trained, finished, material.input_shapes)
        if guest is None
        else count_cost(trained, material.input_shapes)
    )

    weights = safetensors.torch.save(_plain_tensors(trained.state_dict()))
    record = StudentBundle(
        task=recipe.task,
        arch=finished,
        preprocess=material.preprocess,
        labels=material.dataset.train_class_names,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        training_head_sha256=None if head is None else hashlib.sha256(head).hexdigest(),
        learned_ranges=dict(method.learned_ranges()),
        num_params=cost.num_params,
        macs=cost.macs,
        uncounted_operators=cost.uncounted_operators,
        metrics=tuple(
            metric for split in _scored_splits(recipe) for metric in material.score(trained, split)
        ),
        notes=method.notes(),
        provenance=_provenance(material, loop),
    )
    if fabric.is_global_zero:
        write_bundle(output, record, weights, training_head=head)
    fabric.barrier()
    if fabric.is_global_zero:
        for note in record.notes:
            console.warn(f"{output}: {note}")
    return record


def _check_same_data(checkpoint: Checkpoint | None, material: Material) -> None:
    if checkpoint is not None and checkpoint.facts["data"] != material.dataset.fingerprint:
        raise DataError(
            f"{material.dataset.source}: not the data that the interrupted run was trained on "
            "(contents, labels or splits differ); restore it, or start again with --overwrite"
        )


def _build(recipe: TrainRecipe, material: Material, console: Console) -> tuple[nn.Module, ArchSpec]:
    """The network to train, with the head that only training needs, and what is deployed of it."""
    arch = parse_student_for(
        recipe.student,
        recipe.student_options,
        inputs=material.preprocess.inputs,
        num_classes=len(material.dataset.train_class_names),
        embedding_dim=recipe.retrieval.embedding_dim if recipe.task == "retrieval" else None,
    )
    student = build_student(arch)
    load_initial_weights(student, arch, recipe, console)
    cost = count_cost(student, material.input_shapes)
    console.info(
        f"{recipe.student or arch.family}: {cost.text} for "
        f"{', '.join(_described(spec) for spec in material.preprocess.inputs)}"
    )
    if isinstance(student, EmbeddingNetwork):
        student = IdentityNetwork(student, arch.num_classes)
    return student, arch


def _described(spec: InputSpec) -> str:
    return f"{spec.name} {'x'.join(str(size) for size in spec.shape)}"


def _without_head(trained: nn.Module) -> tuple[nn.Module, bytes | None]:
    """The network that is deployed, and the serialised head that is not."""
    if not isinstance(trained, IdentityNetwork):
        return trained, None
    return trained.network, safetensors.torch.save(_plain_tensors(head_tensors(trained)))


def _scored_splits(recipe: TrainRecipe) -> tuple[SplitName, ...]:
    return ("val", "test") if recipe.score_test else ("val",)


def _provenance(material: Material, loop: Loop) -> Provenance:
    job = loop.job
    *earlier, threads = job.facts["thread_counts"]
    return Provenance(
        data=material.dataset.ref(),
        teacher=job.teacher.ref if job.teacher is not None else None,
        recipe=job.recipe.model_dump(mode="json"),
        seed=job.recipe.seed,
        versions=versions(),
        commit=source_commit(),
        machine=machine(),
        num_threads=threads,
        earlier_num_threads=tuple(earlier),
        precision=loop.precision,
        train_seconds=loop.progress.seconds,
        created=now(),
    )


def _plain_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors in plain memory order, on the CPU, as safetensors wants them."""
    return {
        name: tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format).clone()
        for name, tensor in tensors.items()
    }
