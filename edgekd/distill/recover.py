"""The training behind ``edgekd export --recover``: the loop of distillation, with another guest."""

from pathlib import Path
from typing import Final

import torch
from torch import nn

from edgekd.config import DataRecipe, ExportRecipe, TrainRecipe
from edgekd.console import Console
from edgekd.data.few_labels import keep_labels
from edgekd.data.open import open_dataset
from edgekd.distill.job import Job
from edgekd.distill.launch import launch
from edgekd.distill.loop import Loop
from edgekd.distill.material import Material, make_batches, open_sources
from edgekd.distill.methods.recovery import QuantizationRecovery
from edgekd.errors import BundleError, DivergenceError, InterruptedRun
from edgekd.records import StudentBundle
from edgekd.students.quantized import FakeQuantized
from edgekd.teachers.open import open_teacher
from edgekd.teachers.protocol import Capability, Teacher

_WARMUP: Final = 0.1  # of the epochs: AdamW's first steps are its coarsest


def recover(
    network: FakeQuantized,
    *,
    student: nn.Module,
    record: StudentBundle,
    recipe: ExportRecipe,
    work: Path,
    console: Console,
) -> float:
    """Train a network that rounds to 8 bits to answer like the student in fp32.

    Args:
        network: With calibrated ranges; its weights and ranges are trained in place.
        student: In fp32 and eval mode.
        record: Of the student.
        recipe: Data, seed and ``recovery``.
        work: Scratch folder for checkpoint and history.
        console: Hears about progress.

    Returns:
        Mean training loss of the last epoch.

    Raises:
        BundleError: If the record's share of labels is none.
        DataError: If the data cannot be opened.
        ModelError: If the teacher that is named cannot teach this student.
        DivergenceError: If the loss becomes NaN or infinite.
        InterruptedRun: After Ctrl-C or SIGTERM.
    """
    material = _material(record, recipe, console)
    settled = train_recipe(recipe).settled(len(material.dataset.splits["train"]))
    fabric = launch(settled)
    torch.manual_seed(settled.seed)
    job = Job(
        recipe=settled,
        fabric=fabric,
        method=QuantizationRecovery(settled, student, task=record.task),
        teacher=_teacher(record, recipe, console, fabric.device),
        batches=make_batches(settled, material, fabric, console),
        specs=material.preprocess.inputs,
        validate=material.validate,
        folder=work,
        facts={},
        console=console,
    )
    loop = Loop(job, network, None)
    try:
        loop.run()
    except DivergenceError as error:
        found = str(error).partition(";")[0]
        raise DivergenceError(f"recovery: {found}; lower it: --set recovery.lr=...") from error
    except InterruptedRun as error:
        raise InterruptedRun("stopped while recovering; nothing was exported") from error
    finally:
        for module in (network, student):
            module.cpu().to(memory_format=torch.contiguous_format)
    return float(loop.progress.rows[-1]["train_loss"])


def train_recipe(recipe: ExportRecipe) -> TrainRecipe:
    """What the loop is told: the export's data and seed, gentle steps, no decay, fp32."""
    plan = recipe.recovery
    where = {name: getattr(recipe, name) for name in DataRecipe.model_fields}
    return TrainRecipe.model_validate(
        {
            **where,
            "epochs": plan.epochs,
            "batch_size": plan.batch_size,
            "optimizer": "adamw",
            "lr": plan.lr,
            "weight_decay": 0.0,
            "warmup_epochs": _WARMUP * plan.epochs,
            "precision": "fp32",
            "seed": recipe.seed,
            "kd": {"temperature": plan.temperature, "kd_weight": plan.kd_weight},
        }
    )


def _material(record: StudentBundle, recipe: ExportRecipe, console: Console) -> Material:
    """The data as the student was trained to take them, with the labels that it was trained on."""
    dataset = open_dataset(recipe, console, task=record.task)
    share = _labelled_share(record)
    if share < 1:
        seed = record.provenance.seed
        dataset = keep_labels(dataset, share, seed=seed, console=console)
    return Material(
        task=record.task,
        dataset=dataset,
        preprocess=record.preprocess,
        sources=open_sources(dataset, record.preprocess.inputs, console),
        console=console,
    )


def _labelled_share(record: StudentBundle) -> float:
    """Of the training samples; a record may come from anybody, and one of another tool says none.

    Raises:
        BundleError: If it is no share.
    """
    share = record.provenance.recipe.get("label_fraction", 1.0)
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise BundleError(
            f"the bundle says that it was trained with label_fraction {share!r}; expected more "
            "than 0 and at most 1: make the bundle again"
        )
    return share


def _teacher(
    record: StudentBundle, recipe: ExportRecipe, console: Console, device: torch.device
) -> Teacher | None:
    if recipe.recovery.teacher is None:
        return None
    needs: Capability = "logits" if record.task == "classification" else "embedding"
    return open_teacher(
        recipe.recovery.teacher,
        preprocess=record.preprocess,
        class_names=record.labels,
        pretrained=False,
        needs=frozenset({needs}),
        console=console,
    ).to(device)
