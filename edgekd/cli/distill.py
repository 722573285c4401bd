"""``edgekd distill``: train a student, taught by a teacher."""

from pathlib import Path
from typing import Final

import click

from edgekd.cli.extras import needs_extra
from edgekd.cli.options import Flag, example, takes_recipe, takes_terminal
from edgekd.cli.terminal import Terminal
from edgekd.cli.train_flags import TRAIN_FLAGS, show_bundle, takes_run_folder
from edgekd.config import TrainRecipe
from edgekd.errors import UsageError

_FLAGS: Final = (
    Flag(
        "student",
        ("--student", "--model"),
        "What to train: resnet8, timm:NAME, ...; sensor data default to sensor.",
    ),
    Flag(
        "teacher", ("--teacher",), "Bundle folder, .pt2, .onnx, .keras, SavedModel, or timm:NAME."
    ),
    Flag("method", ("--method",), "How to distil; none learns from labels alone.", required=True),
    Flag("kd.temperature", ("--temperature",), "Softmax temperature of kd."),
    Flag("kd.kd_weight", ("--kd-weight",), "Share of the soft loss of kd, 0 to 1."),
    Flag("lsskd.branch", ("--branch",), "Branches of lsskd: copied stages, or light ones."),
    Flag("cdd.target_macs", ("--target-macs",), "Share of the MACs that cdd leaves, 0 to 1."),
    Flag("cdd.target_params", ("--target-params",), "Share of the parameters that cdd leaves."),
    Flag(
        "cdd.shrink_while_training",
        ("--shrink-while-training",),
        "Remove dead channels after every epoch of cdd, which saves time.",
    ),
    Flag("qat", ("--qat",), "Train the last epochs with 8-bit rounding inside (none and kd)."),
    Flag("qat_from", ("--qat-from",), "Share of the epochs before that rounding begins."),
    *TRAIN_FLAGS,
)


@click.command(
    "distill",
    epilog=example(
        "edgekd distill --data signs.zip --teacher runs/teacher --student resnet8 \\",
        "    --method kd --epochs 10 -o runs/student",
    ),
)
@takes_run_folder
@takes_recipe(TrainRecipe, _FLAGS)
@takes_terminal
def command(
    *, recipe: TrainRecipe, terminal: Terminal, output: Path, resume: bool, overwrite: bool
) -> None:
    """Train a small student, taught by a teacher or, by lsskd and ps-kd, by its own past.

    The output folder is a bundle: 'edgekd export FOLDER' writes files for a device from it.
    """
    if "method" not in recipe.model_fields_set:
        raise UsageError(
            "no --method given: kd learns from --teacher, cdd does so and shrinks meanwhile, lsskd "
            "and ps-kd learn from themselves, none from labels alone (the baseline)"
        )
    with needs_extra("train", purpose="train a network"):
        from edgekd.distill.run import distill

    bundle = distill(recipe, output, console=terminal, resume=resume, overwrite=overwrite)
    show_bundle(terminal, bundle, output)
