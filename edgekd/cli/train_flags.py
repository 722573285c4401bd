"""The flags ``teach`` and ``distill`` share, and how both print the bundle they made."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from edgekd.cli.cells import count, duration, percent
from edgekd.cli.data_flags import DATA_FLAGS
from edgekd.cli.options import Flag
from edgekd.cli.terminal import Sheet, Terminal
from edgekd.records import StudentBundle

TRAIN_FLAGS: Final = (
    *DATA_FLAGS,
    Flag("task", ("--task",), "Tell classes apart, or find images of the same identity."),
    Flag("retrieval.embedding_dim", ("--embedding-dim",), "Numbers in an embedding (retrieval)."),
    Flag("retrieval.identities_per_batch", ("--identities-per-batch",), "Per step (retrieval)."),
    Flag("retrieval.images_per_identity", ("--images-per-identity",), "Per step (retrieval)."),
    Flag("retrieval.triplet_margin", ("--triplet-margin",), "Of the triplet loss (retrieval)."),
    Flag("input_size", ("--input-size",), "Pixels per side; the data's own size if left out."),
    Flag("fit", ("--fit",), "How images of other shapes become square."),
    Flag("weights", ("--weights",), "Safetensors file to start from."),
    Flag(
        "pretrained", ("--pretrained",), "Start timm networks from published weights; may download."
    ),
    Flag("label_fraction", ("--label-fraction",), "Share of the training labels to use, 0 to 1."),
    Flag("epochs", ("--epochs",), "Passes over the training data."),
    Flag("batch_size", ("--batch-size",), "Samples per step."),
    Flag("optimizer", ("--optimizer",), "Stochastic gradient descent or AdamW."),
    Flag("lr", ("--lr",), "Highest learning rate of the cosine schedule."),
    Flag("weight_decay", ("--weight-decay",), "Decay of weights; never of norms and biases."),
    Flag("warmup_epochs", ("--warmup-epochs",), "Epochs over which the rate rises to --lr."),
    Flag("label_smoothing", ("--label-smoothing",), "Probability spread over the other classes."),
    Flag("ema_decay", ("--ema-decay",), "Keep a moving average of the weights, for example 0.999."),
    Flag("augment.flip", ("--flip",), "Mirror training images."),
    Flag("augment.erasing", ("--erasing",), "Share of images with a rectangle painted over."),
    Flag("augment.randaugment", ("--randaugment",), "RandAugment magnitude; 0 is off."),
    Flag("augment.mixup", ("--mixup",), "Beta parameter of mixup; 0 is off."),
    Flag("augment.cutmix", ("--cutmix",), "Beta parameter of CutMix; 0 is off."),
    Flag("precision", ("--precision",), "Number format of training; auto measures and chooses."),
    Flag("seed", ("--seed",), "Seed of everything random."),
    Flag("score_test", ("--score-test",), "Measure on the test split, too; not while tuning."),
    Flag("num_threads", ("--threads",), "CPU threads; all if left out."),
    Flag("accelerator", ("--accelerator",), "Where to train."),
    Flag("num_processes", ("--processes",), "Training processes on this machine."),
    Flag(
        "checkpoint_minutes", ("--checkpoint-minutes",), "Minutes between checkpoints in an epoch."
    ),
)


def takes_run_folder(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command ``-o``, ``--resume`` and ``--overwrite``."""
    for option in (
        click.option("--overwrite", is_flag=True, help="Delete an earlier run in the folder."),
        click.option(
            "--resume",
            is_flag=True,
            help="Go on with the folder's run, by its own recipe; needs -o alone.",
        ),
        click.option(
            "-o",
            "--output",
            required=True,
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of the run; it is the bundle.",
        ),
    ):
        command = option(command)
    return command


def show_bundle(terminal: Terminal, bundle: StudentBundle, output: Path) -> None:
    """Print what was trained: one JSON object, or a table of metrics."""
    provenance = bundle.provenance
    data = {
        "output": str(output),
        "arch": bundle.arch.model_dump(mode="json"),
        "num_params": bundle.num_params,
        "macs": bundle.macs,
        "uncounted_operators": list(bundle.uncounted_operators),
        "metrics": [metric.model_dump(mode="json") for metric in bundle.metrics],
        "epochs": provenance.recipe.get("epochs"),
        "method": provenance.recipe.get("method"),
        "teacher": provenance.teacher and provenance.teacher.model_dump(mode="json"),
        "seed": provenance.seed,
        "precision": provenance.precision,
        "num_threads": provenance.num_threads,
        "train_seconds": provenance.train_seconds,
    }
    rows = tuple(
        (bundle.arch.family, m.name, m.split, percent(m.value), str(m.num_samples))
        for m in bundle.metrics
    )
    terminal.show(data, Sheet("", ("architecture", "metric", "split", "value", "samples"), rows))
    terminal.info(
        f"{output}: {count(bundle.num_params)} parameters, {count(bundle.macs)} MACs, "
        f"trained in {duration(provenance.train_seconds)}"
    )
